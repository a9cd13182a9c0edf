//! Collections and words: tuples, intervals, sets, unions, lists, matrices, names, choices.

use super::numbers::spell_fraction;
use super::{Draw, Family, Triple};

pub(super) const FAMILIES: &[Family] = &[
    ("tuples", tuples),
    ("intervals", intervals),
    ("endless intervals", endless),
    ("unions", unions),
    ("sets", sets),
    ("lists", lists),
    ("matrices", matrices),
    ("vectors", vectors),
    ("names", names),
    ("choices", choices),
    ("excluded points", excluded),
    ("bounded by absolute values", absolute),
];

fn tuples(draw: &mut Draw) -> Triple {
    let (a, b, c) = (draw.int(1, 20), draw.int(21, 40), draw.int(-20, -1));
    let equal = match draw.int(0, 2) {
        0 => format!("\\left( {a}, {b}, {c} \\right)"),
        1 => format!("({a},{b},{})", spell_fraction(draw, c, 1)),
        _ => format!("({a}.0, {b}, {c})"),
    };
    let wrong = draw.pick(&[
        format!("({b},{a},{c})"),
        format!("({a},{b},{})", -c),
        format!("({a},{b})"),
        format!("\\{{{a},{b},{c}\\}}"),
        format!("({a},{b},{c},0)"),
    ]);
    (format!("({a},{b},{c})"), equal, wrong)
}

fn intervals(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(-30, 0), draw.int(1, 30));
    let equal = draw.pick(&[
        format!("{a} \\le x < {b}"),
        format!("\\left[{a}, {b}\\right)"),
        format!("x \\in [{a},{b})"),
        format!("\\{{x \\mid {a} \\leq x < {b}\\}}"),
    ]);
    let wrong = draw.pick(&[
        format!("({a},{b})"),
        format!("[{a},{b}]"),
        format!("({a},{b}]"),
        format!("[{a},{})", b + 1),
        format!("{a} < x < {b}"),
        format!("[{b},{a})"),
    ]);
    (format!("[{a},{b})"), equal, wrong)
}

fn endless(draw: &mut Draw) -> Triple {
    let a = draw.int(-40, 40);
    let equal = draw.pick(&[
        format!("x \\leq {a}"),
        format!("\\left(-\\infty, {a}\\right]"),
        format!("{a} \\geq x"),
        format!("(-infinity, {a}]"),
    ]);
    (
        format!("(-\\infty, {a}]"),
        equal,
        draw.pick(&[
            format!("(-\\infty, {a})"),
            format!("[{a}, \\infty)"),
            format!("x < {a}"),
            format!("(-\\infty, {}]", a + 1),
        ]),
    )
}

fn unions(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(-20, 0), draw.int(1, 20));
    let gold = format!("(-\\infty, {a}) \\cup ({b}, \\infty)");
    let equal = draw.pick(&[
        format!("({b},\\infty) \\cup (-\\infty,{a})"),
        format!("x < {a} \\text{{ or }} x > {b}"),
        format!("(-∞,{a})∪({b},∞)"),
        format!("\\mathbb{{R}} \\setminus [{a},{b}]"),
    ]);
    let wrong = draw.pick(&[
        format!("(-\\infty, {a}] \\cup ({b}, \\infty)"),
        format!("({a},{b})"),
        format!("(-\\infty, {a}) \\cap ({b}, \\infty)"),
        format!("x < {a} \\text{{ or }} x > {}", b + 1),
    ]);
    (gold, equal, wrong)
}

fn sets(draw: &mut Draw) -> Triple {
    let (a, b, c) = (draw.int(1, 9), draw.int(10, 19), draw.int(20, 29));
    let equal = draw.pick(&[
        format!("\\{{{c}, {a}, {b}\\}}"),
        format!("\\left\\{{ {b},{a},{c} \\right\\}}"),
        format!("{{{a},{b},{c}}}"),
        format!("{b}, {c}, {a}"),
    ]);
    let wrong = draw.pick(&[
        format!("\\{{{a},{b}\\}}"),
        format!("\\{{{a},{b},{c},0\\}}"),
        format!("\\{{{a},{b},{}\\}}", -c),
        format!("({a},{b},{c})"),
    ]);
    (format!("\\{{{a},{b},{c}\\}}"), equal, wrong)
}

fn lists(draw: &mut Draw) -> Triple {
    let (a, b) = (draw.int(-30, 0), draw.int(1, 30));
    let equal = draw.pick(&[
        format!("{b}, {a}"),
        format!("{a} \\text{{ and }} {b}"),
        format!("${b}$ or ${a}$"),
        format!("x={a}, x={b}"),
        format!("\\{{{a},{b}\\}}"),
    ]);
    (
        format!("{a}, {b}"),
        equal,
        draw.pick(&[
            format!("{a}"),
            format!("{b}"),
            format!("{a}, {}", b + 1),
            format!("{a}, {b}, {}", b + 1),
            format!("{}, {}", -a - 1, b),
        ]),
    )
}

fn matrices(draw: &mut Draw) -> Triple {
    let (a, b, c, d) = (draw.int(1, 9), draw.int(10, 19), draw.int(20, 29), draw.int(-9, -1));
    let body = format!("{a} & {b} \\\\ {c} & {d}");
    let equal = match draw.int(0, 2) {
        0 => format!("\\begin{{bmatrix}}{a}&{b}\\\\{c}&{d}\\end{{bmatrix}}"),
        1 => format!("\\left(\\begin{{array}}{{cc}} {body} \\end{{array}}\\right)"),
        _ => format!("\\frac12\\begin{{pmatrix}} {}&{}\\\\{}&{} \\end{{pmatrix}}", 2 * a, 2 * b, 2 * c, 2 * d),
    };
    let other = draw.pick(&[
        format!("{a} & {c} \\\\ {b} & {d}"),
        format!("{a} & {b} \\\\ {c} & {}", -d),
        format!("{a} & {b}"),
        format!("{c} & {d} \\\\ {a} & {b}"),
    ]);
    (
        format!("\\begin{{pmatrix}} {body} \\end{{pmatrix}}"),
        equal,
        format!("\\begin{{pmatrix}} {other} \\end{{pmatrix}}"),
    )
}

fn vectors(draw: &mut Draw) -> Triple {
    let (a, b, below) = (draw.int(1, 20), draw.int(-20, -1), draw.int(2, 9));
    let vector = |x: String, y: String| format!("\\begin{{pmatrix}} {x} \\\\ {y} \\end{{pmatrix}}");
    let gold = vector(format!("{a}/{below}"), format!("{b}/{below}"));
    let equal = vector(spell_fraction(draw, a, below), spell_fraction(draw, b, below));
    let wrong = draw.pick(&[
        vector(format!("{b}/{below}"), format!("{a}/{below}")),
        vector(format!("{a}/{below}"), format!("{}/{below}", -b)),
        vector(a.to_string(), b.to_string()),
    ]);
    (gold, equal, wrong)
}

fn names(draw: &mut Draw) -> Triple {
    const NAMES: [&str; 8] = ["Evelyn", "Navin", "ellipse", "east", "even", "Tuesday", "hyperbola", "north"];
    let at = usize::try_from(draw.int(0, 7)).unwrap();
    let name = NAMES[at];
    let equal = draw.pick(&[
        name.to_owned(),
        name.to_lowercase(),
        format!("\\textbf{{{name}}}"),
        name.to_uppercase(),
        format!("\\text{{{name}}}."),
    ]);
    (
        format!("\\text{{{name}}}"),
        equal,
        draw.pick(&[
            NAMES[(at + 1) % 8].to_owned(),
            format!("\\text{{{}}}", NAMES[(at + 3) % 8]),
            format!("{name}s"),
            "7".into(),
        ]),
    )
}

fn choices(draw: &mut Draw) -> Triple {
    let at = usize::try_from(draw.int(0, 4)).unwrap();
    let letter = |at: usize| char::from(b"ABCDE"[at % 5]);
    let spelled = |draw: &mut Draw, letter: char| match draw.int(0, 4) {
        0 => letter.to_string(),
        1 => format!("({letter})"),
        2 => format!("\\text{{{letter}}}"),
        3 => format!("\\textbf{{({letter})}}"),
        _ => format!("{letter}."),
    };
    let other = at + usize::try_from(draw.int(1, 4)).unwrap();
    (format!("\\text{{({})}}", letter(at)), spelled(draw, letter(at)), spelled(draw, letter(other)))
}

fn excluded(draw: &mut Draw) -> Triple {
    let a = draw.int(-30, 30);
    let equal = draw.pick(&[
        format!("(-\\infty,{a})\\cup({a},\\infty)"),
        format!("\\mathbb{{R}}\\setminus\\{{{a}\\}}"),
        format!("{a} \\neq x"),
    ]);
    (
        format!("x \\ne {a}"),
        equal,
        draw.pick(&[
            format!("x = {a}"),
            "(-\\infty,\\infty)".to_owned(),
            format!("x \\ne {}", a + 1),
            format!("(-\\infty,{a}]\\cup({a},\\infty)"),
        ]),
    )
}

fn absolute(draw: &mut Draw) -> Triple {
    let (a, r) = (draw.int(1, 20), draw.int(1, 20));
    let equal =
        draw.pick(&[format!("({}, {})", a - r, a + r), format!("{} < x < {}", a - r, a + r), format!("|{a}-x| < {r}")]);
    (
        format!("|x-{a}| < {r}"),
        equal,
        draw.pick(&[
            format!("[{}, {}]", a - r, a + r),
            format!("|x+{a}| < {r}"),
            format!("|x-{a}| > {r}"),
            format!("({}, {})", a - r, a + r + 1),
        ]),
    )
}
