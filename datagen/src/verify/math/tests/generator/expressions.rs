//! Expressions: radicals, polynomials, complex numbers, constants, functions, equations and inequalities.

use super::numbers::{spell, spell_fraction};
use super::{Draw, Family, Triple};

pub(super) const FAMILIES: &[Family] = &[
    ("radicals", radicals),
    ("rationalised radicals", rationalised),
    ("nested radicals", nested),
    ("polynomials", polynomials),
    ("products of binomials", products),
    ("rational functions", rational_functions),
    ("several names", several_names),
    ("complex numbers", complex),
    ("multiples of pi", multiples_of_pi),
    ("sums with constants", constants),
    ("sines and cosines", angles),
    ("identities", identities),
    ("logarithms", logarithms),
    ("powers with names", symbolic_powers),
    ("plus-minus", plus_minus),
    ("lines", lines),
    ("circles", circles),
    ("assignments", assignments),
    ("inequalities", inequalities),
    ("factorials", factorials),
];

fn signed(n: i64) -> String {
    if n < 0 { format!("- {}", -n) } else { format!("+ {n}") }
}

/// Squarefree radicands.
const RADICANDS: [i64; 8] = [2, 3, 5, 6, 7, 10, 13, 15];

fn radicals(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(2, 30), draw.pick(&RADICANDS));
    let equal = match draw.int(0, 3) {
        0 => format!("\\sqrt{{{}}}", a * a * b),
        1 => format!("{a}*sqrt({b})"),
        2 => format!("{a}√{b}"),
        _ => format!("{a} \\cdot {b}^{{1/2}}"),
    };
    let wrong = draw.pick(&[
        format!("-{a}\\sqrt{{{b}}}"),
        format!("{}\\sqrt{{{b}}}", a + 1),
        format!("{a}\\sqrt{{{}}}", b + 1),
        format!("{a}\\sqrt[3]{{{b}}}"),
        (a * b).to_string(),
    ]);
    (format!("{a}\\sqrt{{{b}}}"), equal, wrong)
}

fn rationalised(draw: &mut Draw) -> Triple {
    let b = draw.pick(&RADICANDS);
    let (a, c) = (draw.int(1, 12), draw.int(4, 12));
    // a / (c + sqrt b) = a (c - sqrt b) / (c^2 - b)
    let gold = format!("\\frac{{{a}}}{{{c}+\\sqrt{{{b}}}}}");
    let below = c * c - b;
    let equal = format!("\\frac{{{} - {a}\\sqrt{b_}}}{{{below}}}", a * c, b_ = format_args!("{{{b}}}"));
    let wrong = draw.pick(&[
        equal.replace(" - ", " + "),
        format!("\\frac{{{a}}}{{{c}-\\sqrt{{{b}}}}}"),
        spell_fraction(&mut Draw(3), a, c + 2),
    ]);
    (gold, equal, wrong)
}

fn nested(draw: &mut Draw) -> Triple {
    // (sqrt a + sqrt b)^2 = a + b + 2 sqrt(ab)
    let (a, b) = draw.pick(&[(2, 3), (2, 5), (3, 5), (2, 7), (3, 7), (5, 7), (5, 11), (3, 11)]);
    let by = draw.int(1, 6);
    let gold = format!("{by}\\sqrt{{{}+2\\sqrt{{{}}}}}", a + b, a * b);
    let equal = format!("{by}\\left(\\sqrt{{{b}}}+\\sqrt{{{a}}}\\right)");
    let wrong = draw.pick(&[
        equal.replace('+', "-"),
        format!("{by}\\sqrt{{{}-2\\sqrt{{{}}}}}", a + b, a * b),
        format!("{}\\sqrt{{{a}}}", by + 1),
    ]);
    (gold, equal, wrong)
}

fn polynomials(draw: &mut Draw) -> Triple {
    let (a, b, c) = (draw.int(2, 9), draw.int(1, 20), draw.int(-20, -1));
    let gold = format!("{a}x^3 {} x {}", signed(b), signed(c));
    let equal = match draw.int(0, 2) {
        0 => format!("{c} + {b}x + {a}x^{{3}}"),
        1 => format!("x({a}x^2{}){}", signed(b), signed(c)),
        _ => format!("{a}*x**3 {} * x {}", signed(b), signed(c)),
    };
    let wrong = draw.pick(&[
        format!("{a}x^3 {} x {}", signed(-b), signed(c)),
        format!("{a}x^2 {} x {}", signed(b), signed(c)),
        format!("{a}x^3 {} x {}", signed(b), signed(c - 1)),
        format!("{a}y^3 {} y {}", signed(b), signed(c)),
    ]);
    (gold, equal, wrong)
}

fn products(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(1, 12), draw.int(-12, -1));
    let gold = format!("(x{})(x{})", signed(a), signed(b));
    let equal = format!("x^2 {} x {}", signed(a + b), signed(a * b));
    (gold, equal, format!("x^2 {} x {}", signed(a + b + draw.pick(&[1, -1])), signed(a * b)))
}

fn rational_functions(draw: &mut Draw) -> Triple {
    let a = draw.int(1, 15);
    let gold = format!("\\frac{{1}}{{x-{a}}} - \\frac{{1}}{{x+{a}}}");
    let equal = draw.pick(&[format!("\\frac{{{}}}{{x^2-{}}}", 2 * a, a * a), format!("{}/((x+{a})(x-{a}))", 2 * a)]);
    let wrong = draw.pick(&[format!("\\frac{{{}}}{{x^2+{}}}", 2 * a, a * a), format!("\\frac{{2x}}{{x^2-{}}}", a * a)]);
    (gold, equal, wrong)
}

fn several_names(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(2, 9), draw.int(2, 9));
    let gold = format!("{a}ab^2 - {b}a^2b");
    let equal = draw.pick(&[format!("ab({a}b-{b}a)"), format!("-{b}ba^2+{a}b^2a")]);
    (
        gold,
        equal,
        draw.pick(&[format!("{a}a^2b - {b}ab^2"), format!("{a}ab^2 + {b}a^2b"), format!("{a}ab - {b}a^2b")])
            .replace("2ab - 2", "3ab - 2"),
    )
}

fn complex(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(1, 40), draw.int(1, 40) * draw.pick(&[1, -1]));
    let gold = format!("{a} {} i", signed(b));
    let equal = match draw.int(0, 2) {
        0 => format!("{b}i + {a}"),
        1 => format!("{a}+({b})*i"),
        // a + bi = i (b - ai)
        _ => format!("i({b} - {a}i)"),
    };
    let wrong = draw.pick(&[
        format!("{a} {} i", signed(-b)),
        format!("-{a} {} i", signed(b)),
        format!("{b} {} i", signed(a + 1)),
        a.to_string(),
    ]);
    (gold, equal, wrong)
}

fn multiples_of_pi(draw: &mut Draw) -> Triple {
    let (n, d) = (draw.int(1, 40), draw.pick(&[1, 2, 3, 4, 6, 7]));
    let gold = format!("\\frac{{{n}\\pi}}{{{d}}}");
    let fraction = spell_fraction(draw, n, d);
    let equal = draw.pick(&[format!("{fraction}\\pi"), format!("{n}π/{d}"), format!("{n}*pi/{d}")]);
    let approximation = n as f64 / d as f64 * std::f64::consts::PI;
    let wrong = draw.pick(&[
        format!("{approximation}"),
        fraction.clone(),
        format!("{fraction}\\pi^2"),
        format!("-{n}\\pi/{d}"),
    ]);
    (gold, equal, wrong)
}

fn constants(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(1, 30), draw.int(2, 30));
    let name = draw.pick(&["\\pi", "e", "\\sqrt{2}", "\\ln 2"]);
    let gold = format!("{a}+{b}{name}");
    let equal = draw.pick(&[
        format!("{b} {name}+{a}"),
        format!("{a} - (-{b}){name}"),
        format!("\\frac{{{}+{}{name}}}{{2}}", 2 * a, 2 * b),
    ]);
    let wrong = draw.pick(&[format!("{a}-{b}{name}"), format!("{}+{b}{name}", a + 1), format!("{b}+{}{name}", a + b)]);
    (gold, equal, wrong)
}

fn angles(draw: &mut Draw) -> Triple {
    let (angle, radical) = draw.pick(&[
        (15, "\\frac{\\sqrt6+\\sqrt2}{4}"),
        (30, "\\frac{\\sqrt3}{2}"),
        (36, "\\frac{1+\\sqrt5}{4}"),
        (45, "\\frac{1}{\\sqrt{2}}"),
        (75, "\\frac{\\sqrt6-\\sqrt2}{4}"),
        (22, "\\cos\\frac{11\\pi}{90}"),
    ]);
    let equal = match draw.int(0, 2) {
        0 => radical.to_owned(),
        1 => format!("\\sin {}^\\circ", 90 - angle),
        _ => format!("\\cos\\frac{{{angle}\\pi}}{{180}}"),
    };
    (
        format!("\\cos {angle}^\\circ"),
        equal,
        draw.pick(&[
            format!("\\sin {}^\\circ", 91 - angle),
            format!("-{radical}"),
            format!("\\cos {}^\\circ", angle + 1),
            "0.7".into(),
        ]),
    )
}

fn identities(draw: &mut Draw) -> Triple {
    let a = draw.int(1, 9);
    let (left, right, wrong) = draw.pick(&[
        ("\\sin 2x", "2\\sin x\\cos x", "2\\sin x"),
        ("\\cos 2x", "1-2\\sin^2 x", "1-\\sin^2 x"),
        ("\\sec^2 x", "1+\\tan^2 x", "1-\\tan^2 x"),
        ("\\sin(x+y)", "\\sin x\\cos y+\\cos x\\sin y", "\\sin x+\\sin y"),
        ("\\cot x", "\\frac{\\cos x}{\\sin x}", "\\frac{\\sin x}{\\cos x}"),
        ("e^{x+1}", "e \\cdot e^x", "e + e^x"),
    ]);
    (format!("{a}{left}"), format!("{a}({right})"), format!("{a}({wrong})"))
}

fn logarithms(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(2, 12), draw.int(2, 12));
    let gold = format!("\\ln {}", a * b);
    let equal = draw.pick(&[
        format!("\\ln {a} + \\ln {b}"),
        format!("\\log_{{10}} {}\\cdot \\ln 10", a * b),
        format!("\\frac12\\ln {}", a * a * b * b),
    ]);
    (
        gold,
        equal,
        draw.pick(&[
            format!("\\ln {}", a * b + 1),
            format!("\\ln {a} \\cdot \\ln {b} + 7"),
            format!("-\\ln {}", a * b),
            format!("\\log_{{10}} {}", a * b),
        ]),
    )
}

fn symbolic_powers(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(2, 6), draw.int(1, 5));
    let equal = draw.pick(&[
        format!("{a}^n \\cdot {}", a.pow(u32::try_from(b).unwrap())),
        format!("{a}^{{{}}}\\cdot {a}^{{n-1}}", b + 1),
    ]);
    (
        format!("{a}^{{n+{b}}}"),
        equal,
        draw.pick(&[
            format!("{a}^{{n-{b}}}"),
            format!("{a}^{{n+{}}}", b + 1),
            format!("{}^{{n+{b}}}", a + 1),
            format!("{a}^n+{b}"),
        ]),
    )
}

fn plus_minus(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(1, 20), draw.pick(&RADICANDS));
    let (plus, minus) = (format!("{a}+\\sqrt{{{b}}}"), format!("{a}-\\sqrt{{{b}}}"));
    let equal = draw.pick(&[
        format!("{plus}, {minus}"),
        format!("x = {minus} \\text{{ or }} x = {plus}"),
        format!("{a} ± √{b}"),
    ]);
    (
        format!("{a} \\pm \\sqrt{{{b}}}"),
        equal,
        draw.pick(&[plus, minus, format!("{a} \\pm \\sqrt{{{}}}", b + 1), format!("-{a} \\pm \\sqrt{{{b}}}")]),
    )
}

fn lines(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(2, 12), draw.int(1, 20));
    let by = draw.int(2, 5);
    let equal =
        draw.pick(&[format!("{a}x - y + {b} = 0"), format!("{} + {}x = {by}y", b * by, a * by), format!("{a}x + {b}")]);
    let wrong = draw.pick(&[
        format!("{a}x + y + {b} = 0"),
        format!("y = {a}x - {b}"),
        format!("y = {}x + {b}", a + 1),
        format!("{}x + {a}", b + a + 1),
    ]);
    (format!("y = {a}x + {b}"), equal, wrong)
}

fn circles(draw: &mut Draw) -> Triple {
    let (a, r) = (draw.int(1, 9), draw.int(2, 12));
    let gold = format!("(x-{a})^2+y^2={}", r * r);
    let equal =
        draw.pick(&[format!("x^2 - {}x + y^2 = {}", 2 * a, r * r - a * a), format!("{} = y^2+(x-{a})^2", r * r)]);
    let wrong = draw.pick(&[
        format!("(x+{a})^2+y^2={}", r * r),
        format!("(x-{a})^2-y^2={}", r * r),
        format!("(x-{a})^2+y^2={}", r * r + 1),
    ]);
    (gold, equal, wrong)
}

fn assignments(draw: &mut Draw) -> Triple {
    let n = draw.int(-99, 99);
    let name = draw.pick(&["x", "n", "k", "a"]);
    let equal = if draw.int(0, 1) == 0 { spell(draw, n) } else { format!("{name}={n}") };
    (
        format!("{name} = {n}"),
        equal,
        draw.pick(&[format!("{name} = {}", n + 1), format!("{}", -n - 1), format!("t = {n}")]),
    )
}

fn inequalities(draw: &mut Draw) -> Triple {
    let (a, n) = (draw.int(2, 9), draw.int(-20, 20));
    let equal = draw.pick(&[
        format!("{n} < x"),
        format!("({n}, \\infty)"),
        format!("{a}x > {}", a * n),
        format!("-x < {}", -n),
    ]);
    let wrong = draw.pick(&[
        format!("x < {n}"),
        format!("x \\ge {n}"),
        format!("[{n}, \\infty)"),
        format!("x > {}", n + 1),
        format!("(-\\infty, {n})"),
    ]);
    (format!("x > {n}"), equal, wrong)
}

fn factorials(draw: &mut Draw) -> Triple {
    let n = draw.int(4, 20);
    let value: i64 = (1..=n).product();
    let equal = draw.pick(&[value.to_string(), format!("{n} \\cdot {}!", n - 1)]);
    (
        format!("{n}!"),
        equal,
        draw.pick(&[format!("{}!", n + 1), format!("{n}"), format!("\\frac{{1}}{{{n}!}}"), (value + 1).to_string()]),
    )
}
