//! The stories of the word problems, as data.

/// One step: `left sign right`, where `a`, `b`, ... are the story's numbers and `1`, `2`, ... results of steps.
pub(super) struct Operation {
    pub say: &'static str,
    pub left: char,
    pub sign: char,
    pub right: char,
}

/// A story: the ranges of its numbers, its steps, and several ways to tell it.
pub(super) struct Story {
    pub slots: &'static [(i64, i64)],
    pub steps: &'static [Operation],
    pub wordings: &'static [&'static str],
}

const fn step(say: &'static str, left: char, sign: char, right: char) -> Operation {
    Operation { say, left, sign, right }
}

pub(super) const LEVEL_ONE: &[Story] = &[
    Story {
        slots: &[(5, 80), (3, 60)],
        steps: &[step("Total", 'a', '+', 'b')],
        wordings: &[
            "{n} has {a} {i} and buys {b} more. How many {i} does {n} have now?",
            "{n} finds {b} {i} and adds them to the {a} {i} at home. How many {i} are there now?",
            "There are {a} {i} on a table and {b} {i} in a bag. How many {i} are there in all?",
        ],
    },
    Story {
        slots: &[(20, 99), (3, 60)],
        steps: &[step("Left", 'a', '-', 'b')],
        wordings: &[
            "{n} has {a} {i} and gives {b} of them to {m}. How many {i} are left?",
            "{m} takes {b} of the {a} {i} that {n} had. How many {i} does {n} have now?",
            "A shop sells {b} of its {a} {i}. How many {i} are left?",
        ],
    },
    Story {
        slots: &[(2, 9), (2, 12)],
        steps: &[step("Total", 'a', '*', 'b')],
        wordings: &[
            "{n} fills {a} boxes with {b} {i} each. How many {i} is that?",
            "Each box holds {b} {i}. How many {i} are there in {a} boxes?",
        ],
    },
    Story {
        slots: &[(4, 99), (2, 9)],
        steps: &[step("Each", 'a', '/', 'b')],
        wordings: &[
            "{n} shares {a} {i} equally among {b} friends. How many {i} does each friend get?",
            "{b} friends share {a} {i} equally. How many {i} does each friend get?",
        ],
    },
    Story {
        slots: &[(5, 60), (3, 40), (2, 40)],
        steps: &[step("Then", 'a', '+', 'b'), step("Left", '1', '-', 'c')],
        wordings: &[
            "{n} has {a} {i}, buys {b} more and gives {c} to {m}. How many {i} does {n} have now?",
            "{n} had {a} {i}. {m} gave {n} {b} more, but {n} lost {c}. How many {i} are left?",
            "{n} gave {c} {i} to {m} after buying {b} and having {a} before. How many {i} are left?",
        ],
    },
    Story {
        slots: &[(2, 9), (2, 12), (2, 40)],
        steps: &[step("Packs", 'a', '*', 'b'), step("Total", '1', '+', 'c')],
        wordings: &[
            "{n} buys {a} packs of {b} {i} and already had {c}. How many {i} does {n} have now?",
            "{n} had {c} {i} and bought {a} packs with {b} {i} each. How many {i} does {n} have now?",
        ],
    },
    Story {
        slots: &[(2, 9), (2, 12), (20, 120)],
        steps: &[step("Cost", 'a', '*', 'b'), step("Change", 'c', '-', '1')],
        wordings: &[
            "{n} buys {a} tickets for {b} dollars each and pays with {c} dollars. How much change is there?",
            "{n} has {c} dollars and buys {a} tickets at {b} dollars each. How many dollars are left?",
        ],
    },
];

pub(super) const LEVEL_TWO: &[Story] = &[
    Story {
        slots: &[(3, 12), (2, 9)],
        steps: &[step("Second", 'a', '*', 'b'), step("Total", 'a', '+', '1')],
        wordings: &[
            "{n} has {a} {i}. {m} has {b} times as many. How many {i} do they have together?",
            "{m} has {b} times as many {i} as {n}, who has {a}. How many {i} do both have together?",
        ],
    },
    Story {
        slots: &[(3, 40), (2, 30), (2, 50)],
        steps: &[step("Second", 'a', '+', 'b'), step("Total", 'a', '+', '1'), step("Left", '2', '-', 'c')],
        wordings: &[
            "{n} has {a} {i} and {m} has {b} more than {n}. They give away {c}. How many {i} do they have left?",
            "{m} has {b} more {i} than {n}. {n} has {a}. Together they sell {c}. How many {i} are left?",
        ],
    },
    Story {
        slots: &[(5, 12), (2, 9), (2, 9), (2, 9)],
        steps: &[step("Adults", 'c', '*', 'a'), step("Children", 'd', '*', 'b'), step("Total", '1', '+', '2')],
        wordings: &[
            "Tickets cost {a} dollars for adults and {b} dollars for children. What do {c} adults and {d} children pay?",
            "What do {c} adults and {d} children pay if an adult pays {a} dollars and a child {b} dollars?",
        ],
    },
    Story {
        slots: &[(4, 12), (3, 9), (2, 40), (2, 40)],
        steps: &[step("Saved", 'a', '*', 'b'), step("Then", '1', '-', 'c'), step("Left", '2', '-', 'd')],
        wordings: &[
            "{n} saves {a} dollars a week for {b} weeks, then spends {c} on a toy and {d} on a book. How much is left?",
            "For {b} weeks {n} saves {a} dollars a week. A toy costs {c} and a book {d}. How much is left after both?",
        ],
    },
    Story {
        slots: &[(10, 70), (2, 30), (2, 30), (2, 30)],
        steps: &[step("First stop", 'a', '-', 'b'), step("Then", '1', '+', 'c'), step("Now", '2', '-', 'd')],
        wordings: &[
            "A bus has {a} people. {b} get off and {c} get on, then {d} get off. How many people are on the bus?",
            "On a bus with {a} people, {b} leave, {c} enter, and {d} leave later. How many people are on it now?",
        ],
    },
    Story {
        slots: &[(3, 12), (2, 9), (2, 50), (2, 9)],
        steps: &[step("All", 'a', '*', 'b'), step("Left", '1', '-', 'c'), step("Each", '2', '/', 'd')],
        wordings: &[
            "A crate has {b} rows of {a} {i}. {n} takes out {c} and puts the rest equally into {d} bags. How many {i} are in each bag?",
            "{d} friends share what is left of {b} boxes of {a} {i} after {c} are sold. How many {i} does each get?",
        ],
    },
    Story {
        slots: &[(20, 90), (2, 9), (2, 30)],
        steps: &[step("Each", 'a', '/', 'b'), step("Then", '1', '+', 'c')],
        wordings: &[
            "{a} {i} are shared equally by {b} friends. {n} is one of them and buys {c} more. How many {i} does {n} have now?",
            "{n} buys {c} {i} after getting an equal share of {a} {i} split among {b} friends. How many {i} does {n} have now?",
        ],
    },
];

pub(super) const LEVEL_THREE: &[Story] = &[
    Story {
        slots: &[(5, 12), (2, 9), (2, 9), (2, 9), (40, 180)],
        steps: &[
            step("Adults", 'c', '*', 'a'),
            step("Children", 'd', '*', 'b'),
            step("Cost", '1', '+', '2'),
            step("Change", 'e', '-', '3'),
        ],
        wordings: &[
            "Tickets cost {a} dollars for adults and {b} for children. {n} buys {c} for adults and {d} for children and pays with {e} dollars. How much change is there?",
            "{n} has {e} dollars and buys tickets for {c} adults and {d} children. An adult costs {a} dollars and a child {b}. How many dollars are left?",
        ],
    },
    Story {
        slots: &[(3, 12), (2, 9), (3, 12), (2, 9), (2, 60)],
        steps: &[
            step("First", 'a', '*', 'b'),
            step("Second", 'c', '*', 'd'),
            step("Total", '1', '+', '2'),
            step("Left", '3', '-', 'e'),
        ],
        wordings: &[
            "{n} picks {a} {i} a day for {b} days. {m} picks {c} a day for {d} days. They give away {e}. How many {i} do they have left?",
            "For {b} days {n} makes {a} {i} a day, and for {d} days {m} makes {c} a day. They sell {e} in all. How many {i} are left?",
        ],
    },
    Story {
        slots: &[(3, 12), (2, 9), (2, 20)],
        steps: &[
            step("Second", 'a', '*', 'b'),
            step("Third", '1', '-', 'c'),
            step("Two", 'a', '+', '1'),
            step("Total", '3', '+', '2'),
        ],
        wordings: &[
            "{n} has {a} {i}. {m} has {b} times as many as {n}. {o} has {c} fewer than {m}. How many {i} do the three have together?",
            "{o} has {c} fewer {i} than {m}, and {m} has {b} times as many as {n}. {n} has {a}. How many {i} do all three have?",
        ],
    },
    Story {
        slots: &[(3, 12), (3, 9), (2, 40), (2, 40), (2, 9)],
        steps: &[
            step("All", 'a', '*', 'b'),
            step("Morning", '1', '-', 'c'),
            step("Afternoon", '2', '-', 'd'),
            step("Bags", '3', '/', 'e'),
        ],
        wordings: &[
            "A shop has {b} boxes of {a} {i}. It sells {c} in the morning and {d} later. The rest goes into bags of {e}. How many bags are there?",
            "{n} puts {e} {i} in each bag. There were {b} boxes of {a} {i}, but {c} broke and {d} were sold. How many bags does {n} fill?",
        ],
    },
    Story {
        slots: &[(20, 80), (2, 40), (2, 30), (2, 40), (2, 30)],
        steps: &[
            step("First stop", 'a', '-', 'b'),
            step("Then", '1', '+', 'c'),
            step("Second stop", '2', '-', 'd'),
            step("Now", '3', '+', 'e'),
        ],
        wordings: &[
            "A bus has {a} people. {b} get off and {c} get on. At the next stop {d} get off and {e} get on. How many people are on the bus?",
            "A shop has {a} {i}. It sells {b} and gets {c} new ones. Then it sells {d} and gets {e} new ones. How many {i} does it have?",
        ],
    },
    Story {
        slots: &[(3, 12), (2, 9), (3, 12), (2, 9), (2, 9)],
        steps: &[
            step("First", 'a', '*', 'b'),
            step("Second", 'c', '*', 'd'),
            step("Total", '1', '+', '2'),
            step("Each", '3', '/', 'e'),
        ],
        wordings: &[
            "{n} works {b} hours for {a} dollars an hour and {d} hours for {c} dollars an hour, then shares the money equally among {e} people. How much does each get?",
            "{e} people share equally what {n} earned: {a} dollars an hour for {b} hours and {c} dollars an hour for {d} hours. How much does each get?",
        ],
    },
    Story {
        slots: &[(12, 99), (2, 9), (1, 9), (2, 9), (2, 40)],
        steps: &[
            step("Each jar", 'a', '/', 'b'),
            step("Then", '1', '+', 'c'),
            step("Jars", '2', '*', 'd'),
            step("Total", '3', '+', 'e'),
        ],
        wordings: &[
            "{n} splits {a} {i} equally into {b} jars and adds {c} to each jar. {m} gets {d} of the jars and has {e} more {i}. How many {i} does {m} have?",
            "{m} has {e} {i} and gets {d} jars from {n}, who put {a} {i} equally into {b} jars and then {c} more into each. How many {i} does {m} have?",
        ],
    },
    Story {
        slots: &[(5, 50), (3, 12), (2, 9), (2, 50), (2, 50)],
        steps: &[
            step("Earned", 'b', '*', 'c'),
            step("Then", 'a', '+', '1'),
            step("Toy", '2', '-', 'd'),
            step("Book", '3', '-', 'e'),
        ],
        wordings: &[
            "{n} has {a} dollars and earns {b} dollars a day for {c} days. Then {n} buys a toy for {d} and a book for {e} dollars. How much is left?",
            "{n} buys a toy for {d} dollars and a book for {e} after earning {b} dollars a day for {c} days. At first {n} had {a} dollars. How much is left?",
        ],
    },
];
