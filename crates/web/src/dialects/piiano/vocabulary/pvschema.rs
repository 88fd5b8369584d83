//! PVSchema, the product's text form of a collection: a tolerant parser and a printer.
//!
//! ```text
//! customers PERSONS (
//!   ssn SSN UNIQUE NULL COMMENT 'Social security number',
//!   zip_code_us ZIP_CODE_US NOT ENCRYPTED NULL,
//! );
//! ```
//! The one thing a newcomer would get wrong: the parser knows the grammar only. Names, types and lengths are rules of
//! [`super::new_schema`], the same for JSON, so a parsed draft may still be refused there. Keywords are not
//! reserved: what a word means follows from its place, and `null STRING` declares a property called `null`.

use std::fmt;
use std::str::Chars;

use super::builtin;
use super::draft::{CollectionDraft, PropertyDraft};
use super::schema::{Collection, CollectionType, PROPERTIES_MAX, Property};

/// Bytes of one schema text. A thousand properties with the longest names and descriptions fit.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Properties that are read at most: those of the user and Vault's own, restated.
const READ_MAX: usize = PROPERTIES_MAX + builtin::COUNT;

/// A text that is no PVSchema. Line and column begin at 1; a column is a character, not a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PvSchemaError {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl fmt::Display for PvSchemaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for PvSchemaError {}

/// Reads exactly one collection.
///
/// Tolerated: attributes in any order and said twice alike, keywords in any case (choice), the comma after the last
/// property and the semicolon with or without, an empty list. A quotation mark inside a comment is doubled (choice).
pub fn parse(text: &str) -> Result<CollectionDraft, PvSchemaError> {
    if text.len() > BYTES_MAX {
        return Err(Place::START.error(format!("a schema has at most {BYTES_MAX} bytes")));
    }
    let mut parser = Parser {
        scanner: Scanner {
            rest: text.chars(),
            place: Place::START,
        },
        token: Token::End,
        place: Place::START,
    };
    parser.advance()?;
    let draft = parser.collection()?;
    match parser.token {
        Token::End => Ok(draft),
        _ => Err(parser.expected("the end after one collection")),
    }
}

/// Prints a collection; attributes that have their default value are left out. Ends with a newline.
pub fn print(collection: &Collection) -> String {
    let mut text = format!("{} {} (\n", collection.name, collection.kind.name());
    for property in &collection.properties {
        text.push_str("  ");
        print_property(property, &mut text);
        text.push_str(",\n");
    }
    text.push_str(");\n");
    text
}

/// Prints a list as the product does: one schema after the other, joined by newlines.
pub fn print_all<'a>(collections: impl IntoIterator<Item = &'a Collection>) -> String {
    let printed: Vec<String> = collections.into_iter().map(print).collect();
    printed.join("\n")
}

fn print_property(property: &Property, text: &mut String) {
    text.push_str(&property.name);
    text.push(' ');
    text.push_str(property.data_type.name());
    for (said, word) in [
        (property.is_unique, " UNIQUE"),
        (property.is_index, " INDEX"),
        (property.is_substring_index, " SUBSTRING_INDEX"),
        (!property.is_encrypted, " NOT ENCRYPTED"),
        (property.is_nullable, " NULL"),
        (property.is_builtin, " BUILTIN"),
        (property.is_readonly, " READONLY"),
    ] {
        if said {
            text.push_str(word);
        }
    }
    if !property.description.is_empty() {
        // Prefer the mark that needs no doubling.
        let quote = if property.description.contains('\'') && !property.description.contains('"') {
            '"'
        } else {
            '\''
        };
        text.push_str(" COMMENT ");
        text.push(quote);
        for c in property.description.chars() {
            if c == quote {
                text.push(c);
            }
            text.push(c);
        }
        text.push(quote);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: u32,
    column: u32,
}

impl Place {
    const START: Self = Self { line: 1, column: 1 };

    fn error(self, message: impl Into<String>) -> PvSchemaError {
        PvSchemaError {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// ASCII letters, digits and underscores.
    Word(String),
    /// A quoted text, without its marks.
    Quoted(String),
    /// One of `( ) , ;`.
    Mark(char),
    End,
}

/// Turns characters into tokens. No lookahead beyond one character, no recursion.
struct Scanner<'a> {
    rest: Chars<'a>,
    place: Place,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        // The text is at most 1 MiB, so neither number can overflow.
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn next_token(&mut self) -> Result<(Token, Place), PvSchemaError> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.take();
        }
        let place = self.place;
        let Some(first) = self.take() else {
            return Ok((Token::End, place));
        };
        let token = match first {
            '(' | ')' | ',' | ';' => Token::Mark(first),
            '\'' | '"' => Token::Quoted(self.quoted(first, place)?),
            first if is_word_character(first) => {
                let mut word = String::from(first);
                while let Some(c) = self.peek().filter(|c| is_word_character(*c)) {
                    word.push(c);
                    self.take();
                }
                Token::Word(word)
            }
            '[' => return Err(place.error("array types are not supported")),
            _ => return Err(place.error("a character that has no meaning here")),
        };
        Ok((token, place))
    }

    fn quoted(&mut self, quote: char, start: Place) -> Result<String, PvSchemaError> {
        let mut text = String::new();
        loop {
            let place = self.place;
            match self.take() {
                None => return Err(start.error("a quoted text that does not end")),
                Some('\0') => return Err(place.error("a quoted text may not hold U+0000")),
                Some(c) if c == quote => {
                    if self.peek() != Some(quote) {
                        return Ok(text);
                    }
                    self.take();
                    text.push(quote);
                }
                Some(c) => text.push(c),
            }
        }
    }
}

fn is_word_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    /// The token under consideration, and where it begins.
    token: Token,
    place: Place,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, PvSchemaError> {
        let (token, place) = self.scanner.next_token()?;
        self.place = place;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn expected(&self, what: &str) -> PvSchemaError {
        self.place.error(format!("expected {what}"))
    }

    fn word(&mut self, what: &str) -> Result<String, PvSchemaError> {
        match &self.token {
            Token::Word(_) => match self.advance()? {
                Token::Word(word) => Ok(word),
                _ => Err(self.expected(what)),
            },
            _ => Err(self.expected(what)),
        }
    }

    fn is_at(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    fn collection(&mut self) -> Result<CollectionDraft, PvSchemaError> {
        let name = self.word("the name of a collection")?;
        let place = self.place;
        let kind = self.word("PERSONS or DATA")?;
        let kind = CollectionType::from_name(&kind.to_ascii_uppercase())
            .ok_or_else(|| place.error("expected PERSONS or DATA"))?;
        if !self.is_at('(') {
            return Err(self.expected("an opening parenthesis"));
        }
        self.advance()?;
        let mut properties = Vec::new();
        while !self.is_at(')') {
            if properties.len() >= READ_MAX {
                return Err(self.place.error(format!(
                    "a collection has at most {PROPERTIES_MAX} properties"
                )));
            }
            properties.push(self.property()?);
            if self.is_at(',') {
                self.advance()?;
            } else if !self.is_at(')') {
                return Err(self.expected("an attribute, a comma or a closing parenthesis"));
            }
        }
        self.advance()?;
        if self.is_at(';') {
            self.advance()?;
        }
        Ok(CollectionDraft {
            name,
            kind,
            properties,
        })
    }

    fn property(&mut self) -> Result<PropertyDraft, PvSchemaError> {
        let mut draft = PropertyDraft {
            name: self.word("the name of a property, or a closing parenthesis")?,
            data_type_name: self.word("a data type")?,
            ..PropertyDraft::default()
        };
        while matches!(self.token, Token::Word(_)) {
            self.attribute(&mut draft)?;
        }
        Ok(draft)
    }

    fn attribute(&mut self, draft: &mut PropertyDraft) -> Result<(), PvSchemaError> {
        const ATTRIBUTES: &str =
            "UNIQUE, INDEX, SUBSTRING_INDEX, ENCRYPTED, NULL, BUILTIN, READONLY or COMMENT";
        let start = self.place;
        let mut word = self.word(ATTRIBUTES)?.to_ascii_uppercase();
        let said = word != "NOT";
        let mut place = start;
        if !said {
            place = self.place;
            word = self
                .word("UNIQUE, INDEX, SUBSTRING_INDEX, ENCRYPTED or NULL after NOT")?
                .to_ascii_uppercase();
        }
        let attribute = match word.as_str() {
            "UNIQUE" => &mut draft.is_unique,
            "INDEX" => &mut draft.is_index,
            "SUBSTRING_INDEX" => &mut draft.is_substring_index,
            "ENCRYPTED" => &mut draft.is_encrypted,
            "NULL" => &mut draft.is_nullable,
            // Vault's to say, so they are read over, as in JSON.
            "BUILTIN" | "READONLY" if said => return Ok(()),
            "COMMENT" if said => return self.comment(draft, start),
            "ARRAY" => return Err(place.error("array types are not supported")),
            _ => return Err(place.error(format!("expected {ATTRIBUTES}"))),
        };
        if attribute.is_some_and(|before| before != said) {
            return Err(start.error("an attribute that contradicts an earlier one"));
        }
        *attribute = Some(said);
        Ok(())
    }

    fn comment(&mut self, draft: &mut PropertyDraft, start: Place) -> Result<(), PvSchemaError> {
        if !matches!(self.token, Token::Quoted(_)) {
            return Err(self.expected("a quoted text after COMMENT"));
        }
        let Token::Quoted(text) = self.advance()? else {
            return Err(self.expected("a quoted text after COMMENT"));
        };
        if draft.description.is_some() {
            return Err(start.error("a second COMMENT"));
        }
        draft.description = Some(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::data_type::DataType;
    use super::*;

    const NOW: &str = "2024-01-01T00:00:00.000001Z";
    const CUSTOMERS: &str = "customers PERSONS (
  ssn SSN UNIQUE NULL COMMENT 'Social security number',
  email EMAIL INDEX,
  phone_number PHONE_NUMBER SUBSTRING_INDEX NULL,
  zip_code_us ZIP_CODE_US NOT ENCRYPTED NULL,
);
";

    fn created(text: &str) -> Collection {
        Collection::create(&parse(text).unwrap(), NOW).unwrap()
    }

    #[test]
    fn the_products_example_prints_as_it_was_written() {
        let collection = created(CUSTOMERS);
        assert_eq!(print(&collection), CUSTOMERS);
        let ssn = collection.property("ssn").unwrap();
        assert_eq!(ssn.description, "Social security number");
        assert!(ssn.is_unique && ssn.is_nullable && ssn.is_encrypted && !ssn.is_index);
        assert!(!collection.property("zip_code_us").unwrap().is_encrypted);
        let two = print_all([&collection, &collection]);
        assert_eq!(two, format!("{CUSTOMERS}\n{CUSTOMERS}"));
    }

    #[test]
    fn what_is_tolerated() {
        let one = created("c DATA (a SSN NULL UNIQUE INDEX ENCRYPTED COMMENT \"it's\", b STRING)");
        let other = created(
            " c\tdata(a SSN\n encrypted Index not SUBSTRING_INDEX unique null NULL comment 'it''s',b STRING NOT NULL,);\n",
        );
        assert_eq!(one, other);
        assert_eq!(created("c DATA()").properties, []);
        let odd = created("null DATA (null STRING NULL, comment STRING COMMENT 'x', not STRING)");
        assert_eq!(odd.properties.len(), 3);
        assert_eq!(
            created("c DATA (a STRING COMMENT 'é\n\"\\')").properties[0].description,
            "é\n\"\\"
        );
    }

    #[test]
    fn builtins_print_and_read_back() {
        let shown = created(CUSTOMERS).with_builtins();
        let text = print(&shown);
        assert!(
            text.contains("  id OBJECT_ID UNIQUE INDEX NOT ENCRYPTED BUILTIN READONLY COMMENT")
        );
        assert_eq!(created(&text), created(CUSTOMERS));
    }

    #[test]
    fn errors_say_where() {
        for (text, line, column, message) in [
            ("", 1, 1, "the name of a collection"),
            ("c", 1, 2, "PERSONS or DATA"),
            ("c TABLE (", 1, 3, "PERSONS or DATA"),
            ("c DATA a", 1, 8, "opening parenthesis"),
            ("c DATA (", 1, 9, "closing parenthesis"),
            ("c DATA (,)", 1, 9, "the name of a property"),
            ("c DATA (a)", 1, 10, "a data type"),
            ("c DATA (\n  a SSN b STRING)", 2, 9, "UNIQUE"),
            ("c DATA (\né", 2, 1, "no meaning"),
            ("c DATA (a STRING[])", 1, 17, "array"),
            ("c DATA (a STRING ARRAY)", 1, 18, "array"),
            ("c DATA (a SSN NOT)", 1, 18, "after NOT"),
            ("c DATA (a SSN NOT COMMENT 'x')", 1, 19, "UNIQUE"),
            ("c DATA (a SSN NOT NULL NULL)", 1, 24, "contradicts"),
            ("c DATA (a SSN COMMENT x)", 1, 23, "quoted"),
            (
                "c DATA (a SSN COMMENT 'x' COMMENT 'y')",
                1,
                27,
                "second COMMENT",
            ),
            ("c DATA (a SSN COMMENT 'é\n)", 1, 23, "does not end"),
            ("c DATA (a SSN COMMENT 'é\0')", 1, 25, "U+0000"),
            ("c DATA (a SSN 'x')", 1, 15, "an attribute"),
            ("c DATA () ; c DATA ()", 1, 13, "the end"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text:?}: {error}"
            );
            assert!(error.message.contains(message), "{text:?}: {error}");
        }
        assert_eq!(
            parse("c").unwrap_err().to_string(),
            "line 1, column 2: expected PERSONS or DATA"
        );
    }

    #[test]
    fn input_is_bounded() {
        assert!(
            parse(&" ".repeat(BYTES_MAX + 1))
                .unwrap_err()
                .message
                .contains("at most")
        );
        let many = format!("c DATA ({})", "a SSN,".repeat(READ_MAX + 1));
        assert!(parse(&many).unwrap_err().message.contains("properties"));
        assert!(parse(&"(".repeat(BYTES_MAX)).is_err());
    }

    fn property() -> impl Strategy<Value = Property> {
        let flags = proptest::array::uniform5(any::<bool>());
        let description = prop_oneof!["[ -~'\"\\\\]{0,40}", "\\PC{0,40}"];
        (0..DataType::ALL.len(), flags, description).prop_map(|(index, flags, description)| {
            let data_type = DataType::ALL[index];
            let [unique, indexed, substring, encrypted, nullable] = flags;
            Property {
                name: String::new(),
                data_type,
                description,
                is_unique: unique && data_type.is_indexable(),
                is_index: indexed && data_type.is_indexable(),
                is_substring_index: substring,
                is_encrypted: encrypted,
                is_nullable: nullable,
                is_builtin: false,
                is_readonly: false,
                creation_time: NOW.to_owned(),
                modification_time: NOW.to_owned(),
            }
        })
    }

    fn collection() -> impl Strategy<Value = Collection> {
        let named = proptest::collection::btree_map("[a-z_][a-z0-9_]{0,19}", property(), 0..8);
        (named, "[a-zA-Z][a-zA-Z0-9_]{0,19}", any::<bool>()).prop_map(|(named, name, persons)| {
            let properties = named
                .into_iter()
                .filter(|(name, _)| builtin::data_type(name).is_none())
                .map(|(name, property)| Property { name, ..property })
                .collect();
            Collection {
                name,
                kind: if persons {
                    CollectionType::Persons
                } else {
                    CollectionType::Data
                },
                properties,
                creation_time: NOW.to_owned(),
                modification_time: NOW.to_owned(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_equal(collection in collection()) {
            prop_assert_eq!(created(&print(&collection)), collection.clone());
            prop_assert_eq!(created(&print(&collection.with_builtins())), collection);
        }

        #[test]
        fn json_reads_back_equal(collection in collection()) {
            let json = serde_json::to_value(collection.with_builtins()).unwrap();
            let draft = CollectionDraft::from_json(&json).unwrap();
            prop_assert_eq!(Collection::create(&draft, NOW).unwrap(), collection);
        }

        #[test]
        fn never_panics(text: String, like in "[a-zA-Z0-9_]{0,4} (DATA|PERSONS|é) ?\\(([a-z]{0,2} (SSN|STRING|,)? ?(NOT|NULL|UNIQUE|COMMENT '|\"|'|;|\\)|\n)? ?){0,6}") {
            let _ = parse(&text);
            if let Ok(draft) = parse(&like) {
                let _ = Collection::create(&draft, NOW);
            }
        }
    }
}
