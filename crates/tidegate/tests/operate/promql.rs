//! As much of PromQL as it takes to know what an expression names.

use std::iter::Peekable;
use std::vec::IntoIter;

/// What an expression names.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    pub(crate) series: Vec<Series>,
    /// Labels that it groups or matches by.
    pub(crate) by: Vec<String>,
    /// Whether series are put together, so that only the labels of `by` are left.
    pub(crate) aggregates: bool,
}

#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) matchers: Vec<Matcher>,
}

#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) value: String,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

const AGGREGATIONS: [&str; 12] = [
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "quantile",
    "topk",
    "bottomk",
    "stddev",
    "stdvar",
    "group",
    "count_values",
];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

impl Expression {
    pub(crate) fn parse(text: &str) -> Self {
        let mut expression = Self::default();
        let mut tokens = tokens(text).into_iter().peekable();
        while let Some(token) = tokens.next() {
            let Token::Word(word) = token else { continue };
            if GROUPINGS.contains(&word.as_str()) {
                expression.by.extend(words_until(&mut tokens, ')'));
            } else if AGGREGATIONS.contains(&word.as_str()) {
                expression.aggregates = true;
            } else if !OPERATORS.contains(&word.as_str()) && tokens.peek() != Some(&Token::Sign('(')) {
                expression.series.push(Series { name: word, matchers: matchers(&mut tokens) });
            }
        }
        expression
    }
}

fn matchers(tokens: &mut Peekable<IntoIter<Token>>) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    if tokens.next_if_eq(&Token::Sign('{')).is_none() {
        return matchers;
    }
    let mut label = String::new();
    for token in tokens.by_ref() {
        match token {
            Token::Word(word) => label = word,
            Token::Text(value) => matchers.push(Matcher { label: label.clone(), value }),
            Token::Sign('}') => break,
            Token::Sign(_) => {}
        }
    }
    matchers
}

fn words_until(tokens: &mut Peekable<IntoIter<Token>>, end: char) -> Vec<String> {
    let list = tokens.by_ref().take_while(|token| *token != Token::Sign(end));
    list.filter_map(|token| if let Token::Word(word) = token { Some(word) } else { None }).collect()
}

/// Numbers, durations and what is in square brackets name nothing: they are left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' {
            tokens.push(Token::Text(chars.by_ref().take_while(|c| *c != '"').collect()));
        } else if c == '[' {
            while chars.next_if(|c| *c != ']').is_some() {}
        } else if c.is_ascii_alphanumeric() || "_:$.".contains(c) {
            let mut word = String::from(c);
            while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "_:.".contains(*c)) {
                word.push(c);
            }
            if c.is_ascii_alphabetic() || c == '_' {
                tokens.push(Token::Word(word));
            }
        } else if !c.is_whitespace() {
            tokens.push(Token::Sign(c));
        }
    }
    tokens
}

#[test]
fn an_expression_is_taken_apart() {
    let text = r#"histogram_quantile(0.99, sum by (le, reason) (rate(a_bucket{x="1",y=~"b|c"}[5m]))) > 2 * avg(up) and b_total offset 5m"#;
    let expression = Expression::parse(text);
    let names: Vec<_> = expression.series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["a_bucket", "up", "b_total"]);
    let matchers: Vec<_> =
        expression.series[0].matchers.iter().map(|m| (m.label.as_str(), m.value.as_str())).collect();
    assert_eq!(matchers, [("x", "1"), ("y", "b|c")]);
    assert_eq!(expression.by, ["le", "reason"]);
    assert!(expression.aggregates);
}
