//! Pairs that nobody may take for equal, whether or not it can be told that they are not; and some that nobody may tell apart.

use super::{Equality, grade};

#[rustfmt::skip]
const UNEQUAL: &[(&str, &[(&str, &str)])] = &[
    ("times that say more", &[
        ("7:00 PM EST", "7:00 AM EST"), ("7 PM EST", "7 AM EST"), ("7:00 PM PST", "7:00 AM PST"),
        ("7:15 pm", "7:15 am ET"), ("9:30 a.m. GMT", "9:30 p.m. GMT"), ("7:00 PM EST", "7:00 PM PST"),
        ("8:00 PM on Monday", "8:00 AM on Monday"), ("7 am sharp", "7 pm sharp"),
        ("10:45 AM local time", "10:45 PM local time"), ("7:00 PM EST", "8:00 PM EST"),
        ("19:00 UTC", "7:00 AM UTC"), ("6 in the morning", "6 in the evening"), ("6 PM today", "6 AM today"),
    ]),
    ("dates", &[
        ("2020-03-04", "2020-04-03"), ("2020-03-04", "2020-03-05"), ("2021-03-04", "2020-03-04"),
        ("2020/03/04", "2020/04/03"), ("March 4, 2020", "April 3, 2020"), ("March 4", "March 5"),
        ("March 4", "April 4"), ("March 4", "4"), ("2020-03-04", "2013"), ("Jan 1, 2000", "Jan 1, 2001"),
        ("4 July 1776", "July 5, 1776"), ("May 5", "May 15"), ("1 January 2020", "2020-01-02"),
        ("03/04/2020", "04/03/2020"), ("2020.03.04", "2020.04.03"), ("December 25", "December 24"),
        ("June 20", "July 20"), ("20th of June", "21st of June"), ("March 2020", "April 2020"),
        ("March 2020", "March 2021"), ("02-29-2020", "02-28-2020"), ("12-10-2019", "10-12-2019"),
    ]),
    ("prefixes", &[
        ("5 mm", "5 Mm"), ("5 mg", "5 Mg"), ("5 mW", "5 MW"), ("5 ms", "5 Ms"), ("5 mJ", "5 MJ"),
        ("5 mHz", "5 MHz"), ("5 mV", "5 MV"), ("5 mA", "5 MA"), ("5 mN", "5 MN"), ("5 mPa", "5 MPa"),
        ("5 Gb", "5 GB"), ("5 Mb", "5 MB"), ("5 kb", "5 kB"), ("5 \\text{ mm}", "5 \\text{ Mm}"),
        ("5 mm^2", "5 Mm^2"), ("5 mL", "5 ML"), ("5 pF", "5 PF"), ("5 kg", "5 Gg"),
    ]),
    ("units", &[
        ("5 gal", "5 cal"), ("1 fortnight", "1 week"), ("5 lb", "5 oz"), ("5 acres", "5 hectares"),
        ("5 kcal", "5 cal"), ("5 calories", "5 joules"), ("5 knots", "5 mph"), ("5 furlongs", "5 miles"),
        ("5 quarts", "5 pints"), ("5 cups", "5 pints"), ("5 tablespoons", "5 teaspoons"), ("5 bar", "5 Pa"),
        ("5 atm", "5 Pa"), ("5 N", "5 J"), ("5 J", "5 W"), ("5 kWh", "5 kW"), ("5 kJ", "5 J"),
        ("5 km", "5 light years"), ("5 carats", "5 grams"), ("5 ohms", "5 volts"), ("5 mol", "5 g"),
        ("5 nm", "5 mm"), ("5 μm", "5 mm"), ("5 ft", "5 yd"), ("5 feet", "5 fathoms"), ("5 stones", "5 kg"),
        ("5 MB", "5 GB"), ("5 KB", "5 MB"), ("5 bits", "5 bytes"), ("5 rubles", "5 dollars"), ("5 pesos", "$5"),
        ("5 cents", "5 euros"), ("5 won", "5 yen"), ("5 francs", "5 euros"), ("5 m/s", "5 m/s^2"),
        ("5 rad/s", "5 rpm"), ("5 N/m", "5 N"), ("5 kg/m^3", "5 g/cm^3"), ("5 hours", "5 quarters"),
        ("5 ly", "5 AU"), ("5 parsecs", "5 light-years"), ("5 eV", "5 J"), ("5 K", "5 °C"),
        ("5 miles", "5 nautical miles"), ("5 tons", "5 pounds"), ("5 ounces", "5 grams"), ("5 weeks", "5 months"),
        ("5 millennia", "5 centuries"), ("5 Pa", "5 kPa"), ("5 GHz", "5 MHz"), ("5 seconds", "5 milliseconds"),
        ("5 mph", "5 km/h"), ("5 square feet", "5 square meters"), ("5 cubic feet", "5 cubic inches"),
        ("5 dm", "5 cm"), ("5 hm", "5 dm"),
    ]),
    ("statements", &[
        ("p\\land q", "p\\lor q"), ("p \\wedge q", "p \\vee q"), ("x=1 \\land y=2", "x=1 \\lor y=2"),
        ("x=1 and y=2", "x=1 or y=2"), ("A \\land B \\land C", "A \\lor B \\lor C"), ("p \\land q", "p, q"),
        ("p \\land q", "p \\land r"), ("p \\land q \\lor r", "p \\land (q \\lor r)"), ("p \\to q", "q \\to p"),
        ("\\neg p", "p"), ("p \\implies q", "q \\implies p"), ("p \\land \\neg q", "p \\land q"), ("p∧q", "p∨q"),
        ("p \\lor q", "p + q"), ("p and q", "p or q"), ("A \\cap B", "A \\cup B"), ("A \\subset B", "B \\subset A"),
        ("A \\setminus B", "B \\setminus A"),
    ]),
    ("figures", &[
        ("\\overrightarrow{AB}", "\\overrightarrow{BA}"), ("\\vec{AB}", "\\vec{BA}"),
        ("\\angle ABC", "\\angle ACB"), ("\\angle ABC", "\\angle BAC"), ("\\overrightarrow{AB}", "\\overline{AB}"),
        ("\\overline{AB}", "\\overline{AC}"), ("\\triangle ABC", "\\triangle ABD"), ("\\angle A", "\\angle B"),
        ("\\overline{ab}", "\\overline{ba}"), ("\\overrightarrow{AB}", "\\overrightarrow{AC}"),
        ("\\vec{AB}+\\vec{BC}", "\\vec{AB}-\\vec{BC}"), ("\\overleftrightarrow{AB}", "\\overrightarrow{AB}"),
        ("\\vec{a}", "\\vec{b}"), ("\\widehat{AB}", "\\overline{AB}"),
        ("2\\overrightarrow{AB}", "2\\overrightarrow{BA}"), ("\\angle ABC", "ABC"),
        ("\\vec{u}\\times\\vec{v}", "\\vec{v}\\times\\vec{u}"), ("AB", "BA"), ("∠ABC", "∠ACB"),
        ("\\measuredangle ABC", "\\measuredangle ACB"), ("\\triangle ABC", "\\angle ABC"),
    ]),
    ("where functions are defined", &[
        ("\\ln(x^2)", "2\\ln x"), ("\\log x^2", "2\\log x"), ("\\sqrt{x^2}", "x"), ("\\ln x^4", "4\\ln x"),
        ("(\\sqrt{x})^2", "|x|"), ("\\ln|x|", "\\ln x"), ("\\sqrt[4]{x^4}", "x"), ("\\arcsin(\\sin x)", "x"),
        ("\\ln(x^2)", "(\\ln x)^2"), ("e^{2x}", "2e^x"), ("\\log_2(x^2)", "2\\log_2 x"), ("x^{2/3}", "x^{3/2}"),
        ("\\sqrt{x^2 y}", "x\\sqrt{y}"), ("(x^2)^{1/2}", "x"), ("|x+1|", "|x|+1"), ("\\ln(ab)", "\\ln a \\ln b"),
        ("\\frac{|x|}{x}", "1"), ("\\ln(\\sin^2 x)", "2\\ln(\\sin x)"),
    ]),
    ("points", &[
        ("(x,y)=(3,-1)", "(-1,3)"), ("(x,y)=(3,-1)", "(y,x)=(3,-1)"), ("(x,y)=(3,-1)", "(3,1)"),
        ("(x,y)=(3,-1)", "3"), ("(x,y)=(3,-1)", "[3,-1]"), ("(x,y)=(3,-1)", "x=-1, y=3"),
        ("(a,b,c)=(1,2,3)", "(1,2)"), ("(x,y)=(1,2),(3,4)", "(1,2)"), ("(x,y)=(3,-1)", "(a,b)=(3,-2)"),
    ]),
    ("words", &[
        ("2 fifths", "2"), ("2 fifths", "5"), ("two fifths", "2"), ("twenty one", "20"), ("twenty one", "1"),
        ("twenty one", "201"), ("one hundred twenty", "100"), ("one hundred twenty", "2000"),
        ("five hundred twenty", "10000"), ("five dozen", "5"), ("a dozen", "1"), ("two and a half", "2"),
        ("negative five", "5"), ("one third", "3"), ("a third", "3"), ("third", "3"), ("first", "1.5"),
        ("twenty, one", "21"), ("three quarters", "3"), ("three quarters", "4/3"), ("2 and 1/2", "2"),
        ("twenty or one", "21"), ("six and seven", "67"), ("six seven", "67"), ("twenty-one", "twenty-two"),
        ("one hundred five", "150"), ("two thousand five hundred", "2005"), ("2 hundred 5", "250"),
        ("half", "2"), ("twice 5", "5"), ("double 5", "5"), ("5 or more", "5"),
        ("at least 5", "5"), ("more than 5", "5"), ("less than 5", "5"), ("fewer than 5", "5"), ("up to 5", "5"),
        ("no more than 5", "5"), ("not 5", "5"), ("5th root of 2", "5"), ("square root of 5", "5"),
        ("5 below zero", "5"), ("5 squared", "5"), ("5 minus 2", "5"), ("5 plus 2", "5"), ("5 times 2", "5"),
        ("5 choose 2", "5"), ("5 divided by 2", "5"), ("5 mod 2", "5"), ("5 factorial", "5"),
        ("5 to the third power", "5"), ("2 and 3/4", "2"), ("5 hundred", "5"), ("5 percent more", "5"),
        ("5 less than x", "5"), ("5k", "5"), ("5M", "5"), ("5 k", "5"),
    ]),
    ("notation", &[
        ("1 in 5", "1"), ("1 out of 5", "1"), ("3 of 4", "3"), ("x^2", "x2"), ("2x", "x"),
        ("x", "-x"), ("0.1", "0.01"), ("(1,2)", "(1,2]"), ("\\frac{a}{b}", "\\frac{b}{a}"), ("a-b", "b-a"),
        ("10:30", "10.30"), ("5'6\"", "5'7\""), ("A.", "B."), ("1.5", "1,5,0"), ("\\sin x", "\\sin^{-1}x"),
        ("\\log_2 3", "\\log_3 2"), ("x>5", "x>=5"), ("x \\equiv 1 \\pmod 3", "x \\equiv 1 \\pmod 5"),
        ("x \\equiv 1 \\pmod 3", "1"), ("1 \\pmod 3", "1 \\pmod 5"), ("f(x)=x", "g(x)=x"), ("f'(x)", "f(x)"),
        ("\\dot{x}", "x"), ("\\bar{x}", "x"), ("\\hat{x}", "\\bar{x}"), ("x'", "x"), ("z^*", "z"), ("A^T", "A"),
        ("A^{-1}", "A"), ("n!", "n"), ("n!!", "n!"), ("0.\\overline{12}", "0.12"), ("\\Delta x", "x"),
        ("\\nabla f", "f"), ("\\partial x", "x"), ("dx", "x"), ("\\sum a_n", "a_n"), ("\\infty", "-\\infty"),
        ("+\\infty", "-\\infty"), ("[0,1]", "{0,1}"), ("i", "j"), ("\\text{Paris}", "\\text{London}"),
        ("2^3", "3^2"), ("ab", "a+b"), ("CO2", "CO"), ("H_2O", "H_2O_2"), ("Na+", "Na"), ("Na^+", "Na^-"),
        ("north", "south"), ("30° N", "30° S"), ("30° north", "30° south"), ("5 west", "5 east"),
        ("5 left", "5 right"), ("5 up", "5 down"), ("5 losses", "5 wins"), ("5 profit", "5 loss"),
        ("$5 profit", "$5 loss"), ("gain of 5", "loss of 5"), ("increase of 5", "decrease of 5"),
        ("5 increase", "5 decrease"), ("5 AD", "5 BC"), ("44 BC", "44 AD"), ("44 BC", "44"), ("5 AM", "5 PM"),
        ("Q1", "Q2"), ("Room 5", "Room 6"), ("1st", "2nd"), ("5th", "6th"), ("3-1", "3 to 2"), ("1-0", "0-1"),
        ("2–1", "1–2"), ("\\vec{a}", "a"), ("\\text{east}", "-\\text{east}"), ("1:30", "1/30"), ("2:45", "2/45"), ("0.333...", "0.333"),
        ("0.33...", "0.33"), ("12...", "12"), ("t \\approx 1", "t \\approx 2"), ("\\triangle A \\sim \\triangle B", "\\triangle A \\sim \\triangle C"),
        ("10,00", "10,000"), ("10,00", "10"), ("(25,000)", "(25,0)"), ("x>0, x<1", "x<1"), ("x>0, y<1", "x>0 or y<1"),
    ]),
];

#[rustfmt::skip]
const ALIKE: &[(&str, &str)] = &[
    ("3/4/2020", "March 4, 2020"), ("2020-03-04", "March 4"), ("Wednesday, March 4, 2020", "March 4, 2020"),
    ("2 and 1/2", "2.5"), ("2 and 3/4", "2.75"), ("five plus two", "7"), ("5 times 2", "10"),
    ("square root of 2", "\\sqrt2"), ("pi over four", "\\pi/4"), ("two pi", "2\\pi"), ("x equals 5", "5"),
    ("x squared", "x^2"), ("five point two", "5.2"),
];

#[test]
fn what_may_differ_is_never_equal() {
    let mut accepted = Vec::new();
    for (class, pairs) in UNEQUAL {
        let equal = pairs.iter().filter(|(gold, answer)| grade(gold, answer) == Equality::Equal);
        accepted.extend(equal.map(|(gold, answer)| format!("{class}: {gold} and {answer}")));
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[test]
fn what_may_be_alike_is_never_refuted() {
    for (gold, answer) in ALIKE {
        assert_ne!(grade(gold, answer), Equality::NotEqual, "{gold} and {answer}");
    }
}
