//! Transformers: what `ssn.mask` in `props` means, and what it shows.
//!
//! The one thing a newcomer would get wrong: a transformer belongs to the *data type*, not to the property, so a name
//! can only be resolved once the schema is known. And a mask fails closed: what it does not recognize it hides whole.

use std::fmt;

use serde_json::Value;

use super::data_type::DataType;
use super::schema;

const MASKED: char = '*';

/// A transformer that a data type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transformer {
    /// Digits but the last four hidden, separators shown.
    Ssn,
    /// The first character and the domain shown.
    Email,
    /// Everything but the last four characters hidden.
    AllButLastFour,
    /// Like the former, in groups of four from the right.
    CardNumber,
}

impl Transformer {
    /// The transformer of this name that the type has, if any. Only `mask` exists, for five types.
    pub fn find(data_type: DataType, name: &str) -> Option<Self> {
        if name != "mask" {
            return None;
        }
        match data_type {
            DataType::Ssn => Some(Self::Ssn),
            DataType::Email => Some(Self::Email),
            DataType::PhoneNumber | DataType::Ban => Some(Self::AllButLastFour),
            DataType::CcNumber => Some(Self::CardNumber),
            _ => None,
        }
    }

    /// Applies the transformer to a stored value. `None` if the value is no string, which the types that have one
    /// exclude.
    pub fn transform(self, value: &Value) -> Option<Value> {
        let text = value.as_str()?;
        Some(Value::String(match self {
            Self::Ssn => ssn(text),
            Self::Email => email(text),
            Self::AllButLastFour => all_but_last_four(text),
            Self::CardNumber => card_number(text),
        }))
    }
}

/// `123-12-1234` becomes `***-**-1234`. Choice: blanks as separators stay blanks.
fn ssn(text: &str) -> String {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if digits <= 4 {
        return hidden(text);
    }
    let mut left = digits;
    text.chars()
        .map(|c| match c {
            '-' | ' ' => c,
            digit if digit.is_ascii_digit() => {
                left -= 1;
                if left < 4 { digit } else { MASKED }
            }
            _ => MASKED,
        })
        .collect()
}

/// `john@gmail.com` becomes `j***@gmail.com`.
fn email(text: &str) -> String {
    // The last `@`: a quoted local part may hold others.
    let Some((local, domain)) = text.rsplit_once('@') else {
        return hidden(text);
    };
    let mut characters = local.chars();
    let first: String = characters.next().into_iter().collect();
    let rest: String = characters.map(|_| MASKED).collect();
    format!("{first}{rest}@{domain}")
}

fn all_but_last_four(text: &str) -> String {
    let length = text.chars().count();
    if length <= 4 {
        return hidden(text);
    }
    text.chars()
        .enumerate()
        .map(|(index, c)| if index + 4 < length { MASKED } else { c })
        .collect()
}

/// Choice for what is documented as `**** **** **** 9573`: groups are counted from the right, so that the last four
/// digits of a number of any length stay together.
fn card_number(text: &str) -> String {
    let masked = all_but_last_four(text);
    let length = masked.chars().count();
    let mut grouped = String::with_capacity(length + length / 4);
    for (index, c) in masked.chars().enumerate() {
        if index > 0 && (length - index).is_multiple_of(4) {
            grouped.push(' ');
        }
        grouped.push(c);
    }
    grouped
}

fn hidden(text: &str) -> String {
    text.chars().map(|_| MASKED).collect()
}

/// One entry of `props`: a property, optionally seen through a transformer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PropertySelector {
    text: String,
    dot: Option<usize>,
}

/// An entry of `props` is neither `property` nor `property.transformer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorError;

impl fmt::Display for SelectorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("must be the name of a property, or <property>.<transformer>")
    }
}

impl std::error::Error for SelectorError {}

impl PropertySelector {
    /// Bytes of a transformer's name. Those of bundles are `<bundle>.<function>`, each part at most 450 long.
    const TRANSFORMER_BYTES_MAX: usize = 901;

    /// Reads `property` or `property.transformer`. Whether either exists is another question.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let dot = text.find('.');
        let fits = match dot {
            None => schema::is_property_name(text),
            Some(dot) => {
                let transformer = &text[dot + 1..];
                schema::is_property_name(&text[..dot])
                    && transformer.len() <= Self::TRANSFORMER_BYTES_MAX
                    && transformer.split('.').count() <= 2
                    && transformer.split('.').all(schema::is_identifier)
            }
        };
        if fits {
            Ok(Self {
                text: text.to_owned(),
                dot,
            })
        } else {
            Err(SelectorError)
        }
    }

    /// The property's name.
    pub fn property(&self) -> &str {
        &self.text[..self.dot.unwrap_or(self.text.len())]
    }

    /// The transformer's name, without the dot.
    pub fn transformer(&self) -> Option<&str> {
        self.dot.map(|dot| &self.text[dot + 1..])
    }

    /// The key under which the result appears in an answer: the text as it was asked for.
    pub fn key(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn masked(data_type: DataType, text: &str) -> String {
        let transformer = Transformer::find(data_type, "mask").unwrap();
        let shown = transformer.transform(&json!(text)).unwrap();
        shown.as_str().unwrap().to_owned()
    }

    #[test]
    fn documented_examples() {
        for (data_type, text, shown) in [
            (DataType::Ssn, "123-12-1234", "***-**-1234"),
            (DataType::Ssn, "123 12 1234", "*** ** 1234"),
            (DataType::Email, "john@gmail.com", "j***@gmail.com"),
            (
                DataType::Email,
                "somebody1@example.com",
                "s********@example.com",
            ),
            (DataType::Email, "é@x.de", "é@x.de"),
            (DataType::Email, "\"a@b\"@x.de", "\"****@x.de"),
            (DataType::PhoneNumber, "+1121212123", "*******2123"),
            (DataType::PhoneNumber, "+972541234567", "*********4567"),
            (DataType::Ban, "12345677917", "*******7917"),
            (
                DataType::CcNumber,
                "4012888888889573",
                "**** **** **** 9573",
            ),
            (DataType::CcNumber, "378282246310005", "*** **** **** 0005"),
        ] {
            assert_eq!(masked(data_type, text), shown);
        }
    }

    #[test]
    fn what_is_not_recognized_is_hidden_whole() {
        assert_eq!(masked(DataType::Ssn, "1234"), "****");
        assert_eq!(masked(DataType::Ssn, "abc-12345"), "***-*2345");
        assert_eq!(masked(DataType::Email, "no address"), "**********");
        assert_eq!(masked(DataType::Ban, "1234"), "****");
        assert_eq!(masked(DataType::CcNumber, ""), "");
        assert_eq!(Transformer::Email.transform(&json!(5)), None);
    }

    #[test]
    fn only_five_types_have_a_mask() {
        let having: Vec<&str> = DataType::ALL
            .into_iter()
            .filter(|data_type| Transformer::find(*data_type, "mask").is_some())
            .map(DataType::name)
            .collect();
        assert_eq!(having, ["EMAIL", "PHONE_NUMBER", "SSN", "BAN", "CC_NUMBER"]);
        assert_eq!(Transformer::find(DataType::Ssn, "MASK"), None);
        assert_eq!(Transformer::find(DataType::Ssn, "bundle.mask"), None);
    }

    #[test]
    fn selectors() {
        let plain = PropertySelector::parse("_tenant_id").unwrap();
        assert_eq!(
            (plain.property(), plain.transformer()),
            ("_tenant_id", None)
        );
        let masked = PropertySelector::parse("ssn.mask").unwrap();
        assert_eq!(
            (masked.property(), masked.transformer()),
            ("ssn", Some("mask"))
        );
        assert_eq!(masked.key(), "ssn.mask");
        let bundled = PropertySelector::parse("ssn.my_bundle.last_2").unwrap();
        assert_eq!(bundled.transformer(), Some("my_bundle.last_2"));
        let long = "a".repeat(41);
        for text in [
            "",
            ".",
            "ssn.",
            ".mask",
            "ssn..mask",
            "s-n",
            "1ssn",
            "ssn.a.b.c",
            "ssn mask",
            "ssn.1a",
            "é",
            &long,
        ] {
            assert_eq!(PropertySelector::parse(text), Err(SelectorError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_hides(text: String, digits in "[0-9]{5,19}") {
            for data_type in DataType::ALL {
                if let Some(transformer) = Transformer::find(data_type, "mask") {
                    prop_assert!(transformer.transform(&json!(text)).is_some());
                }
            }
            for data_type in [DataType::Ban, DataType::CcNumber, DataType::Ssn] {
                let shown = masked(data_type, &digits);
                prop_assert_eq!(shown.chars().filter(char::is_ascii_digit).count(), 4);
            }
            if let Ok(selector) = PropertySelector::parse(&text) {
                prop_assert_eq!(selector.key(), &text);
            }
        }
    }
}
