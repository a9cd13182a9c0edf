//! Tuples, intervals, sets, lists and matrices.

use super::Class;

pub(super) const CLASSES: &[Class] = &[
    (
        "tuples",
        &[
            ("(1,2)", "\\left(1, 2\\right)"),
            ("(3, \\pi/2)", "\\left(3,\\frac{\\pi}{2}\\right)"),
            ("\\langle 1,2,3\\rangle", "(1,2,3)"),
            ("x=1, y=2", "(1,2)"),
            ("(1,2)", "1, 2"),
            ("(0.5, 1)", "\\left(\\frac12, 1\\right)"),
            ("(1, \\pm 2)", "(1,2), (1,-2)"),
        ],
        &[
            ("(1,2)", "(2,1)"),
            ("(1,2)", "(1,2,3)"),
            ("(3, \\pi/2)", "(3, \\pi/3)"),
            ("(1,2)", "\\{1,2\\}"),
            ("(1,2)", "1"),
        ],
    ),
    (
        "intervals",
        &[
            ("x \\in [-2,7]", "-2 \\le x \\le 7"),
            ("[1,2)", "1 \\leq x < 2"),
            ("(1,2)", "1<x<2"),
            ("(5,\\infty)", "x>5"),
            ("\\left(\\frac{3}{5},\\frac{8}{3}\\right]", "(0.6, 8/3]"),
            ("(-\\sqrt{3}, \\sqrt{3})", "-√3 < x < √3"),
            ("\\{x \\mid x>2\\}", "(2,\\infty)"),
            ("|x|<3", "(-3,3)"),
            ("\\mathbb{R}", "(-\\infty,\\infty)"),
            ("x\\ge2 \\text{ and } x\\le 5", "[2,5]"),
        ],
        &[
            ("(1,2)", "[1,2]"),
            ("(1,2]", "[1,2)"),
            ("[1,2)", "1 < x \\le 2"),
            ("(5,\\infty)", "[5,\\infty)"),
            ("(5,\\infty)", "6"),
            ("|x|<3", "|x|>3"),
        ],
    ),
    (
        "unions",
        &[
            ("(-\\infty, 2) \\cup (3, \\infty)", "x<2 or x>3"),
            ("(0,9) \\cup (9,36)", "(0,36) \\setminus \\{9\\}"),
            ("(2,12) \\cup (12,102)", "(12,102) U (2,12)"),
            ("[0,1]\\cup[1,2]", "[0,2]"),
            ("(-\\infty,1)\\cup(1,\\infty)", "x \\ne 1"),
            ("(-\\infty,1)\\cup(1,\\infty)", "\\mathbb{R}\\setminus\\{1\\}"),
            ("(-\\infty,a)\\cup(a,\\infty)", "(a,\\infty)\\cup(-\\infty,a)"),
            ("\\mathbb{Z}", "ℤ"),
            ("|x-1|\\ge 2", "(-\\infty,-1]\\cup[3,\\infty)"),
        ],
        &[
            ("(0,1)\\cup(1,2)", "(0,2)"),
            ("(-\\infty, 2) \\cup (3, \\infty)", "(-\\infty, 2] \\cup (3, \\infty)"),
            ("(0,2) \\cup (1,3)", "(0,2) \\cap (1,3)"),
            ("x<2 or x>3", "x<2 and x>3"),
        ],
    ),
    (
        "sets",
        &[
            ("\\{1,2\\}", "\\{2,1\\}"),
            ("\\left\\{1,2,3\\right\\}", "{1, 2, 3}"),
            ("\\{1,2\\}", "\\{1,2,2\\}"),
            ("\\emptyset", "\\{\\}"),
            ("\\{2\\}", "2"),
            ("\\{\\frac12, \\sqrt8\\}", "\\{2\\sqrt2, 0.5\\}"),
        ],
        &[("\\{1,2\\}", "\\{1,3\\}"), ("\\{1,2\\}", "\\{1,2,3\\}"), ("\\{1,2\\}", "[1,2]"), ("\\emptyset", "\\{0\\}")],
    ),
    (
        "lists",
        &[
            ("1,-2", "-2,1"),
            ("1,-2", "\\{-2, 1\\}"),
            ("3, 5, 7", "7,5,3"),
            ("x = 1 \\text{ and } x = -2", "1,-2"),
            ("x=1,\\ x=-2", "x=-2 \\text{ or } x=1"),
            ("$3$ and $5$", "5,3"),
            ("1; 2", "1, 2"),
            ("\\{1,2,3\\}", "1, 2, and 3"),
            ("\\frac12,\\frac13", "1/3, 1/2"),
        ],
        &[("1,2", "1,2,3"), ("1,-2", "1,2"), ("5", "3 or 5"), ("1, 2", "12")],
    ),
    (
        "matrices",
        &[
            (
                "\\begin{pmatrix} -1/3 \\\\ 2/3 \\\\ 5/3 \\end{pmatrix}",
                "\\frac13\\begin{bmatrix} -1\\\\2\\\\5\\end{bmatrix}",
            ),
            ("\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}", "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}"),
            (
                "\\left(\\begin{array}{cc} 1 & 2 \\\\ 3 & 4 \\end{array}\\right)",
                "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\\\ \\end{pmatrix}",
            ),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"),
            (
                "\\begin{pmatrix}1\\\\2\\end{pmatrix} + \\begin{pmatrix}3\\\\4\\end{pmatrix}",
                "\\begin{pmatrix}4\\\\6\\end{pmatrix}",
            ),
        ],
        &[
            ("\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}", "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\-2\\end{pmatrix}"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(2,1)"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "3"),
        ],
    ),
];
