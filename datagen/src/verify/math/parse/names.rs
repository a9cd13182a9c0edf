//! Names with a meaning: functions, Greek letters, sets, words that join.

use super::super::spelled;
use super::super::tree::Function;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" => Function::Cot,
        "sec" => Function::Sec,
        "csc" => Function::Csc,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" => Function::Arctan,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "exp" => Function::Exp,
        "ln" => Function::Ln,
        "log" | "lg" => Function::Log,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" => Function::Ceil,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "min" => Function::Min,
        "max" => Function::Max,
        _ => return None,
    })
}

pub(super) fn greek(name: &str) -> bool {
    const NAMES: [&str; 34] = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
    ];
    NAMES.contains(&name) || name == "ell"
}

pub(super) fn named_set(name: &str) -> Option<char> {
    name.strip_prefix("mathbb").and_then(|letter| letter.chars().next())
}

/// Words that join what stands around them and are no factor.
pub(super) fn ends_term(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "union" | "per")
}

/// Whether a word of several letters has a meaning in mathematics.
pub(in super::super) fn is_name(word: &str) -> bool {
    function(word).is_some() || greek(word) || matches!(word, "sqrt" | "cbrt" | "union")
}

/// Whether a word behind a number may make another number of it, and so names nothing that is counted: `2 fifths`,
/// `5 squared`, `5 below zero`, `twenty one`.
pub(super) fn changes_number(word: &str) -> bool {
    // `gross` loses its last letter here, too.
    let part = word.strip_suffix('s').unwrap_or(word);
    // `sixes`, `twenties`, `pennies`.
    let singular = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let singular = singular.as_deref().or_else(|| word.strip_suffix("es")).unwrap_or(part);
    let number = |word| spelled::spelled(word).is_some() || spelled::multiplier(word).is_some();
    spelled::part(word).is_some()
        || [word, part, singular].into_iter().any(number)
        || matches!(singular, "penny" | "penni")
        || matches!(
            part,
            "half"
                | "dozen"
                | "gros"
                | "score"
                | "squared"
                | "cubed"
                | "factorial"
                | "infinity"
                | "am"
                | "pm"
                | "AD"
                | "BC"
                | "pair"
                | "couple"
                | "nickel"
                | "dime"
                | "double"
                | "triple"
        )
        || matches!(
            word,
            "halves"
                | "below"
                | "less"
                | "minus"
                | "negative"
                | "loss"
                | "not"
                | "wrong"
                | "incorrect"
                | "infinite"
                | "doubled"
                | "tripled"
                | "quadrupled"
                | "halved"
                | "once"
                | "twice"
                | "thrice"
        )
}
