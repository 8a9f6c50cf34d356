//! A JSON reader for manifests and configs that are known to be well-formed: anything else panics. The crates have no
//! dependencies, and their tests neither.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Index;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Json {
        let mut chars = text.chars().peekable();
        let value = read_value(&mut chars);
        assert_eq!(next_token(&mut chars), None, "text behind the JSON");
        value
    }

    pub fn number(&self) -> f64 {
        match self {
            Json::Number(number) => *number,
            other => panic!("{:?} is no number", other),
        }
    }

    pub fn int(&self) -> i64 {
        self.number() as i64
    }

    pub fn size(&self) -> usize {
        usize::try_from(self.int()).unwrap()
    }

    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("{:?} is no text", other),
        }
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(list) => list,
            other => panic!("{:?} is no list", other),
        }
    }

    pub fn sizes(&self) -> Vec<usize> {
        self.list().iter().map(Json::size).collect()
    }

    pub fn is_true(&self) -> bool {
        *self == Json::Bool(true)
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(object) => object.get(key),
            other => panic!("{:?} is no object", other),
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&String, &Json)> {
        match self {
            Json::Object(object) => object.iter(),
            other => panic!("{:?} is no object", other),
        }
    }
}

impl Index<&str> for Json {
    type Output = Json;
    fn index(&self, key: &str) -> &Json {
        self.get(key)
            .unwrap_or_else(|| panic!("no \"{}\" in {:?}", key, self))
    }
}

/// Skips white space and looks at what follows.
fn next_token(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    chars.peek().copied()
}

fn expect(chars: &mut Peekable<Chars<'_>>, wanted: char) {
    assert_eq!(next_token(chars), Some(wanted));
    chars.next();
}

fn read_value(chars: &mut Peekable<Chars<'_>>) -> Json {
    match next_token(chars).expect("a value") {
        '{' => Json::Object(
            read_items(chars, '}', |chars| {
                let key = read_text(chars);
                expect(chars, ':');
                (key, read_value(chars))
            })
            .into_iter()
            .collect(),
        ),
        '[' => Json::List(read_items(chars, ']', read_value)),
        '"' => Json::Text(read_text(chars)),
        _ => read_word(chars),
    }
}

/// Items with commas between them, up to `end`.
fn read_items<T>(
    chars: &mut Peekable<Chars<'_>>,
    end: char,
    read: impl Fn(&mut Peekable<Chars<'_>>) -> T,
) -> Vec<T> {
    chars.next();
    let mut out = Vec::new();
    while next_token(chars) != Some(end) {
        if !out.is_empty() {
            expect(chars, ',');
        }
        out.push(read(chars));
    }
    chars.next();
    out
}

fn read_text(chars: &mut Peekable<Chars<'_>>) -> String {
    expect(chars, '"');
    let mut out = String::new();
    loop {
        match chars.next().expect("the end of a text") {
            '"' => return out,
            '\\' => out.push(read_escape(chars)),
            c => out.push(c),
        }
    }
}

fn read_escape(chars: &mut Peekable<Chars<'_>>) -> char {
    match chars.next().expect("an escape") {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let digits: String = chars.take(4).collect();
            let code = u32::from_str_radix(&digits, 16).expect("four hexadecimal digits");
            char::from_u32(code).expect("a character without surrogates")
        }
        c => c,
    }
}

fn read_word(chars: &mut Peekable<Chars<'_>>) -> Json {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
        word.push(c);
    }
    match word.as_str() {
        "null" => Json::Null,
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        number => Json::Number(number.parse().expect("a number")),
    }
}
