//! Numbers: integers, decimals, fractions, percentages, money, units, bases, degrees, powers of ten.

use super::{Draw, Family, Triple};

pub(super) const FAMILIES: &[Family] = &[
    ("integers", integers),
    ("last digits", last_digits),
    ("thousands", thousands),
    ("decimals", decimals),
    ("decimal commas", decimal_commas),
    ("fractions", fractions),
    ("fractions and decimals", fractions_and_decimals),
    ("repeating decimals", repeating),
    ("mixed numbers", mixed),
    ("percent", percent),
    ("money", money),
    ("lengths", lengths),
    ("areas", areas),
    ("speeds", speeds),
    ("times", times),
    ("counted things", counted),
    ("bases", bases),
    ("degrees", degrees),
    ("powers of ten", scientific),
    ("powers", powers),
    ("proportions", proportions),
];

/// An integer in one of its spellings.
pub(super) fn spell(draw: &mut Draw, n: i64) -> String {
    let size = n.unsigned_abs();
    let minus = if n < 0 { draw.pick(&["-", "\u{2212}"]) } else { "" };
    match draw.int(0, 5) {
        0 => format!("{minus}{size}.0"),
        1 => format!("{minus}{}", grouped(size, ",")),
        2 => format!("{minus}{}", grouped(size, "{,}")),
        3 if n >= 0 => format!("+{size}"),
        4 => format!("{minus} {size}"),
        _ => format!("{minus}{size}"),
    }
}

fn grouped(n: u64, separator: &str) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    text
}

/// A fraction in one of its spellings, reduced or not.
pub(super) fn spell_fraction(draw: &mut Draw, above: i64, below: i64) -> String {
    let by = draw.pick(&[1, 1, 2, 3]);
    let (n, d) = (above.abs() * by, below * by);
    let minus = if above < 0 { "-" } else { "" };
    match draw.int(0, 5) {
        0 => format!("{minus}\\dfrac{{{n}}}{{{d}}}"),
        1 => format!("{minus}{n}/{d}"),
        2 => format!("\\frac{{{minus}{n}}}{{{d}}}"),
        3 if n < 10 && d < 10 => format!("{minus}\\frac{n}{d}"),
        4 => format!("{minus}\\tfrac {{{n}}} {{{d}}}"),
        _ => format!("{minus}({n})/({d})"),
    }
}

fn integers(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 99_999) * draw.pick(&[1, -1]);
    let wrong = match draw.int(0, 3) {
        0 => -n,
        1 => n * 10,
        2 => n + 1,
        _ => n - draw.pick(&[1, 10, 100]),
    };
    (n.to_string(), spell(draw, n), spell(draw, wrong))
}

fn last_digits(draw: &mut Draw) -> Triple {
    let n: Vec<String> = (0..draw.int(3, 12)).map(|_| format!("{:05}", draw.int(10_000, 99_998))).collect();
    let n = n.concat();
    let last = n.as_bytes()[n.len() - 1] - b'0';
    let wrong = format!("{}{}", &n[..n.len() - 1], (last + 1) % 10);
    (n.clone(), format!("{n}.00"), wrong)
}

fn thousands(draw: &mut Draw) -> Triple {
    let n = draw.int(1_000, 9_999_999_999);
    let size = n.unsigned_abs();
    let styles = [",", "{,}", "\\,", ",\\!", ",\\! "];
    let gold = grouped(size, draw.pick(&styles));
    let wrong = [size * 10, size / 10, size + 1, size + 1000];
    (gold, draw.pick(&[size.to_string(), grouped(size, ","), grouped(size, "\\,")]), grouped(draw.pick(&wrong), ","))
}

fn decimals(draw: &mut Draw) -> Triple {
    let (whole, part) = (draw.int(0, 999), draw.int(1, 998));
    let gold = format!("{whole}.{part:03}");
    let equal = match draw.int(0, 2) {
        0 => format!("{gold}0"),
        1 if whole == 0 => format!(".{part:03}"),
        _ => format!("\\frac{{{}}}{{1000}}", whole * 1000 + part),
    };
    let wrong = match draw.int(0, 3) {
        0 => format!("{whole}.{:03}", part + 1),
        1 => format!("{whole}.{part:03}1"),
        2 => format!("-{gold}"),
        _ => format!("{whole}{part:03}"),
    };
    (gold, equal, wrong)
}

fn decimal_commas(draw: &mut Draw) -> Triple {
    let (whole, part) = (draw.int(1, 99), draw.int(11, 98));
    (format!("{whole}.{part}"), format!("{whole},{part}"), format!("{whole},{}", part + 1))
}

fn fractions(draw: &mut Draw) -> Triple {
    let (n, d) = (draw.int(1, 60) * draw.pick(&[1, -1]), draw.int(2, 60));
    let (wrong_n, wrong_d) = draw.pick(&[(-n, d), (n + n.signum(), d), (n, d + 1)]);
    (format!("\\frac{{{n}}}{{{d}}}"), spell_fraction(draw, n, d), spell_fraction(draw, wrong_n, wrong_d))
}

fn fractions_and_decimals(draw: &mut Draw) -> Triple {
    let places = draw.int(1, 4);
    let scale = 10i64.pow(u32::try_from(places).unwrap());
    let n = draw.int(1, 4 * scale);
    let width = usize::try_from(places).unwrap();
    let decimal = format!("{}.{:0width$}", n / scale, n % scale);
    // A third is never a decimal.
    let wrong = draw.pick(&[spell_fraction(&mut Draw(1), 3 * n + 1, 3 * scale), format!("{decimal}3")]);
    (decimal, spell_fraction(draw, n, scale), wrong)
}

fn repeating(draw: &mut Draw) -> Triple {
    let (block, shift) = (draw.int(1, 98), draw.int(0, 9));
    // 0.s(bb) = s/10 + bb/990
    let gold = format!("0.{shift}\\overline{{{block:02}}}");
    let (n, d) = (99 * shift + block, 990);
    let rounded = format!("0.{shift}{block:02}{block:02}{block:02}");
    (gold, spell_fraction(draw, n, d), draw.pick(&[rounded, spell_fraction(&mut Draw(2), n + 1, d)]))
}

fn mixed(draw: &mut Draw) -> Triple {
    let d = draw.int(2, 12);
    let (whole, n) = (draw.int(1, 40), draw.int(1, d - 1));
    let minus = draw.pick(&["", "-"]);
    let sign = if minus.is_empty() { 1 } else { -1 };
    let gold = format!("{minus}{whole}\\frac{{{n}}}{{{d}}}");
    let equal = match draw.int(0, 1) {
        0 => format!("{minus}{whole} {n}/{d}"),
        _ => spell_fraction(draw, sign * (whole * d + n), d),
    };
    let wrong =
        draw.pick(&[format!("{minus}{} {n}/{d}", whole + 1), format!("{minus}{whole}\\frac{{{n}}}{{{}}}", d + 1)]);
    (gold, equal, wrong)
}

fn percent(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 250);
    let gold = format!("{n}\\%");
    let equal = match draw.int(0, 3) {
        0 => format!("{n}%"),
        1 => format!("{n} percent"),
        2 => format!("{}.{:02}", n / 100, n % 100),
        _ => spell_fraction(draw, n, 100),
    };
    (gold, equal, draw.pick(&[format!("{}", n + 1), format!("{}%", n + 1), format!("0.{n}%"), format!("-{n}\\%")]))
}

fn money(draw: &mut Draw) -> Triple {
    let (dollars, cents) = (draw.int(2, 20_000), draw.int(10, 99));
    let amount = format!("{dollars}.{cents}");
    let gold = format!("\\${amount}");
    let equal = match draw.int(0, 3) {
        0 => format!("{amount} dollars"),
        1 => format!("\\${}.{cents}", grouped(dollars.unsigned_abs(), ",")),
        2 => format!("{} \\text{{ cents}}", dollars * 100 + cents),
        _ => amount.clone(),
    };
    let wrong = draw.pick(&[format!("€{amount}"), format!("{amount} cents"), format!("\\${dollars}.{}", cents - 1)]);
    (gold, equal, wrong)
}

fn lengths(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 900);
    let gold = format!("{n}\\text{{ cm}}");
    let equal = match draw.int(0, 3) {
        0 => format!("{n} centimeters"),
        1 => format!("{}.{:02}\\,\\mathrm{{m}}", n / 100, n % 100),
        2 => format!("{}~\\text{{mm}}", n * 10),
        _ => n.to_string(),
    };
    (
        gold,
        equal,
        draw.pick(&[format!("{n} m"), format!("{n} mm"), format!("{} cm", n + 1), format!("{n}\\text{{ cm}}^2")]),
    )
}

fn areas(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 900);
    let gold = format!("{n} \\mbox{{ inches}}^2");
    let equal = draw.pick(&[format!("{n} square inches"), format!("{n}\\text{{ in}}^2"), n.to_string()]);
    (
        gold,
        equal,
        draw.pick(&[format!("{n} inches"), format!("{n} cubic inches"), format!("{n} square feet"), format!("-{n}")]),
    )
}

fn speeds(draw: &mut Draw) -> Triple {
    let n = 18 * draw.int(1, 20);
    let gold = format!("{n}\\text{{ km/h}}");
    let equal = match draw.int(0, 2) {
        0 => format!("{n} kilometers per hour"),
        1 => format!("{} m/s", n / 18 * 5),
        _ => n.to_string(),
    };
    (gold, equal, draw.pick(&[format!("{n} m/s"), format!("{n} mph"), format!("{n} km"), format!("{} km/h", n + 1)]))
}

fn times(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 60);
    let gold = format!("{n} \\text{{ hours}}");
    let equal = draw.pick(&[format!("{} minutes", n * 60), format!("{n} hours"), format!("{n} h")]);
    (gold, equal, draw.pick(&[format!("{n} minutes"), format!("{n} days"), format!("{} hours", n + 1)]))
}

fn counted(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 500);
    let noun = draw.pick(&["apples", "students", "ways", "marbles"]);
    let equal = draw.pick(&[n.to_string(), format!("{n}\\text{{ {noun}}}"), format!("{n}.0 {noun}")]);
    (format!("{n} {noun}"), equal, draw.pick(&[format!("{} {noun}", n + 1), format!("-{n}"), format!("{n}0")]))
}

fn bases(draw: &mut Draw) -> Triple {
    let base = draw.int(3, 9);
    let digits: String = (0..draw.int(2, 5)).map(|at| draw.int(i64::from(at == 0), base - 1).to_string()).collect();
    let value = i64::from_str_radix(&digits, u32::try_from(base).unwrap()).unwrap();
    let gold = format!("{digits}_{base}");
    let equal = draw.pick(&[format!("{digits}_{{{base}}}"), format!("({digits})_{base}"), value.to_string()]);
    let wrong = draw.pick(&[digits.clone(), format!("{digits}_{{{}}}", base + 1), format!("1{digits}_{base}")]);
    (gold, equal, wrong)
}

fn degrees(draw: &mut Draw) -> Triple {
    let n = draw.int(2, 359);
    let equal = match draw.int(0, 3) {
        0 => n.to_string(),
        1 => format!("{n}^{{\\circ}}"),
        2 => format!("{n} degrees"),
        _ => format!("\\frac{{{n}\\pi}}{{180}}"),
    };
    let wrong = draw.pick(&[
        format!("{}^\\circ", n + 1),
        format!("-{n}°"),
        format!("{n} \\text{{ radians}}"),
        format!("\\frac{{{n}\\pi}}{{90}}"),
    ]);
    (format!("{n}^\\circ"), equal, wrong)
}

fn scientific(draw: &mut Draw) -> Triple {
    let (a, b, e) = (draw.int(1, 9), draw.int(1, 9), draw.int(2, 25));
    let zeros = "0".repeat(usize::try_from(e - 1).unwrap());
    let gold = format!("{a}.{b} \\times 10^{{{e}}}");
    let equal = draw.pick(&[format!("{a}{b}{zeros}"), format!("{a}.{b}e{e}"), format!("{a}.{b}\\cdot 10^{{{e}}}")]);
    let wrong =
        draw.pick(&[format!("{a}.{b}e{}", e + 1), format!("{a}.{b} \\times 10^{{-{e}}}"), format!("{a}{b}0{zeros}")]);
    (gold, equal, wrong)
}

fn powers(draw: &mut Draw) -> Triple {
    let (base, exponent) = (draw.int(2, 12), draw.int(2, 12));
    let value = i128::from(base).pow(u32::try_from(exponent).unwrap());
    let equal = draw.pick(&[
        value.to_string(),
        format!("{base}**{exponent}"),
        format!("{base}^{{{}}}\\cdot{base}", exponent - 1),
    ]);
    let wrong = draw.pick(&[
        format!("{base}^{{{}}}", exponent + 1),
        format!("{base}^{{-{exponent}}}"),
        (value + 1).to_string(),
    ]);
    (format!("{base}^{{{exponent}}}"), equal, wrong)
}

fn proportions(draw: &mut Draw) -> Triple {
    let (a, b, by) = (draw.int(1, 20), draw.int(61, 90), draw.int(2, 5));
    let equal = draw.pick(&[format!("{} : {}", a * by, b * by), format!("\\frac{{{a}}}{{{b}}}")]);
    (format!("{a}:{b}"), equal, draw.pick(&[format!("{b}:{a}"), format!("{a}:{}", b + 1)]))
}
