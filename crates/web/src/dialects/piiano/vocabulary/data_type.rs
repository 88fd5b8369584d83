//! The built-in data types: names, base types, and the check and normalization of one value.
//!
//! The one thing a newcomer would get wrong: a value leaves as it came, unless a normalization is *documented* for its
//! type (NFC for plain strings, dashes of phone numbers, blanks and dashes of card numbers, the case of object IDs).
//! Clients compare what they read with what they wrote.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::{formats, timestamp};

/// A built-in data type. Types defined by users do not exist here: they need a script engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    String,
    Name,
    Gender,
    Address,
    CcHolderName,
    LongText,
    Json,
    Blob,
    Integer,
    Double,
    Boolean,
    Email,
    EmailStrict,
    Url,
    PhoneNumber,
    ZipCodeUs,
    Timestamp,
    Date,
    DateOfBirth,
    Ssn,
    Ban,
    CcNumber,
    CcCvv,
    CcExpirationString,
    UsBankRouting,
    UsBankAccountNumber,
    ObjectId,
    TenantId,
}

/// The settings that decide whether a value fits its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRules {
    /// Characters (Unicode scalar values, counted after NFC) of a value whose base type is STRING.
    pub string_chars_max: usize,
    /// Decoded bytes of a BLOB.
    pub blob_bytes_max: usize,
    /// Whether a CC_NUMBER must have a valid check digit.
    pub luhn_required: bool,
}

impl Default for ValueRules {
    /// 450 characters is the only documented length of strings (older texts; the present default is not known), 5 MiB
    /// our reading of "5 MB".
    fn default() -> Self {
        Self {
            string_chars_max: 450,
            blob_bytes_max: 5 * 1024 * 1024,
            luhn_required: true,
        }
    }
}

/// A value does not fit its data type. Holds the type and the rule, never the value or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    data_type: DataType,
    rule: Cow<'static, str>,
}

impl Violation {
    /// The type that the value should have had.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// What is demanded, as the end of a sentence that begins with "must".
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "a value of type {} must {}",
            self.data_type, self.rule
        )
    }
}

impl std::error::Error for Violation {}

/// Standard base64 with padding, as liberal about the unused bits of the last character as Go's decoder is.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

impl DataType {
    /// Every built-in type, in the order in which they are listed.
    pub const ALL: [Self; 28] = [
        Self::String,
        Self::Name,
        Self::Gender,
        Self::Address,
        Self::CcHolderName,
        Self::LongText,
        Self::Json,
        Self::Blob,
        Self::Integer,
        Self::Double,
        Self::Boolean,
        Self::Email,
        Self::EmailStrict,
        Self::Url,
        Self::PhoneNumber,
        Self::ZipCodeUs,
        Self::Timestamp,
        Self::Date,
        Self::DateOfBirth,
        Self::Ssn,
        Self::Ban,
        Self::CcNumber,
        Self::CcCvv,
        Self::CcExpirationString,
        Self::UsBankRouting,
        Self::UsBankAccountNumber,
        Self::ObjectId,
        Self::TenantId,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Name => "NAME",
            Self::Gender => "GENDER",
            Self::Address => "ADDRESS",
            Self::CcHolderName => "CC_HOLDER_NAME",
            Self::LongText => "LONG_TEXT",
            Self::Json => "JSON",
            Self::Blob => "BLOB",
            Self::Integer => "INTEGER",
            Self::Double => "DOUBLE",
            Self::Boolean => "BOOLEAN",
            Self::Email => "EMAIL",
            Self::EmailStrict => "EMAIL_STRICT",
            Self::Url => "URL",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::ZipCodeUs => "ZIP_CODE_US",
            Self::Timestamp => "TIMESTAMP",
            Self::Date => "DATE",
            Self::DateOfBirth => "DATE_OF_BIRTH",
            Self::Ssn => "SSN",
            Self::Ban => "BAN",
            Self::CcNumber => "CC_NUMBER",
            Self::CcCvv => "CC_CVV",
            Self::CcExpirationString => "CC_EXPIRATION_STRING",
            Self::UsBankRouting => "US_BANK_ROUTING",
            Self::UsBankAccountNumber => "US_BANK_ACCOUNT_NUMBER",
            Self::ObjectId => "OBJECT_ID",
            Self::TenantId => "TENANT_ID",
        }
    }

    /// The type of this name, which is case-sensitive. `LONGTEXT` is an older spelling of `LONG_TEXT`.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "LONGTEXT" {
            return Some(Self::LongText);
        }
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The type that this one refines; base types are their own. Which base each type has is documented for none but
    /// the plain ones; choice: whatever is written as text is a STRING, a date of birth is a DATE.
    #[must_use]
    pub fn base(self) -> Self {
        match self {
            Self::LongText
            | Self::Json
            | Self::Blob
            | Self::Integer
            | Self::Double
            | Self::Boolean
            | Self::Timestamp
            | Self::Date
            | Self::ObjectId => self,
            Self::DateOfBirth => Self::Date,
            Self::String
            | Self::Name
            | Self::Gender
            | Self::Address
            | Self::CcHolderName
            | Self::Email
            | Self::EmailStrict
            | Self::Url
            | Self::PhoneNumber
            | Self::ZipCodeUs
            | Self::Ssn
            | Self::Ban
            | Self::CcNumber
            | Self::CcCvv
            | Self::CcExpirationString
            | Self::UsBankRouting
            | Self::UsBankAccountNumber
            | Self::TenantId => Self::String,
        }
    }

    /// Whether a property of this type may be indexed or unique.
    pub fn is_indexable(self) -> bool {
        !matches!(self.base(), Self::LongText | Self::Json | Self::Blob)
    }

    /// What a value must do, as the end of a sentence.
    fn rule(self) -> &'static str {
        match self {
            Self::String
            | Self::Name
            | Self::Gender
            | Self::Address
            | Self::CcHolderName
            | Self::LongText => "be a string",
            Self::Json => "be JSON, or a string that holds JSON",
            Self::Blob => "be standard base64 with padding",
            Self::Integer => "be a whole JSON number of at most 64 bits",
            Self::Double => "be a JSON number",
            Self::Boolean => "be true or false",
            Self::Email | Self::EmailStrict => "be an e-mail address",
            Self::Url => "be an absolute URL or an absolute path",
            Self::PhoneNumber => "be 7 to 15 digits, optionally after a plus sign",
            Self::ZipCodeUs => "be five digits, optionally with a blank or a dash and four more",
            Self::Timestamp => {
                "be an RFC 3339, Unix date, ANSI C, RFC 822, RFC 850 or RFC 1123 time"
            }
            Self::Date | Self::DateOfBirth => "be an existing day written YYYY-MM-DD",
            Self::Ssn => "be a social security number with separators",
            Self::Ban => "be 5 to 17 digits",
            Self::CcNumber => "be a valid card number of 13 to 19 digits",
            Self::CcCvv => "be 3 or 4 digits",
            Self::CcExpirationString => "be written MM/YY or MM/YYYY",
            Self::UsBankRouting => "be written 123456789, 1234/5678 or 12-3456/7890",
            Self::UsBankAccountNumber => "not be empty",
            Self::ObjectId => "be a UUID with dashes",
            Self::TenantId => "have at least one character and no comma",
        }
    }

    /// Checks a value and brings it into the form in which it is stored.
    ///
    /// `null` is no value of any type: whether a property may be without one is the schema's question. INTEGER, DOUBLE
    /// and BOOLEAN take JSON numbers and booleans only, as documented. A client that sends everything as text (Django)
    /// gives its properties the type STRING unless told otherwise, and taking `"5"` for an INTEGER would either
    /// change a value without a documented rule or make `5` and `"5"` two values of one token.
    pub fn validate_and_normalize(
        self,
        value: &Value,
        rules: &ValueRules,
    ) -> Result<Value, Violation> {
        let fits = match (self, value) {
            (Self::Integer, Value::Number(number)) => number.is_i64(),
            (Self::Double, Value::Number(number)) => number.as_f64().is_some_and(f64::is_finite),
            (Self::Boolean, Value::Bool(_)) => true,
            (Self::Json, Value::String(text)) => serde_json::from_str::<IgnoredAny>(text).is_ok(),
            (Self::Json, other) => !other.is_null(),
            (Self::Integer | Self::Double | Self::Boolean, _) => false,
            (_, Value::String(text)) => {
                let normal = self.normal_text(text, rules)?;
                return Ok(Value::String(normal.into_owned()));
            }
            _ => return Err(self.violation("be a string")),
        };
        if fits {
            Ok(value.clone())
        } else {
            Err(self.violation(self.rule()))
        }
    }

    fn violation(self, rule: impl Into<Cow<'static, str>>) -> Violation {
        Violation {
            data_type: self,
            rule: rule.into(),
        }
    }

    /// The stored form of a value that is written as a string.
    fn normal_text<'a>(self, text: &'a str, rules: &ValueRules) -> Result<Cow<'a, str>, Violation> {
        // Choice: the product's database cannot hold U+0000 in a text.
        if text.contains('\0') {
            return Err(self.violation("not hold the character U+0000"));
        }
        let max = rules.string_chars_max;
        let too_long = || self.violation(format!("be at most {max} characters long"));
        let is_string = self.base() == Self::String;
        // NFC composes at most four characters to one, so a longer text cannot become short enough: no need to try.
        if is_string && text.chars().nth(max.saturating_mul(4)).is_some() {
            return Err(too_long());
        }
        let as_is = |fits: bool| fits.then_some(Cow::Borrowed(text));
        let normal = match self {
            Self::String | Self::Name | Self::Gender | Self::Address | Self::CcHolderName => {
                Some(if is_nfc(text) {
                    Cow::Borrowed(text)
                } else {
                    Cow::Owned(text.nfc().collect())
                })
            }
            Self::LongText => as_is(true),
            Self::Blob => {
                self.check_blob(text, rules.blob_bytes_max)?;
                as_is(true)
            }
            Self::Email => as_is(formats::is_email(text)),
            Self::EmailStrict => as_is(formats::is_email_strict(text)),
            Self::Url => as_is(formats::is_url_or_path(text)),
            Self::PhoneNumber => formats::phone_number(text),
            Self::ZipCodeUs => as_is(formats::is_zip_code_us(text)),
            Self::Timestamp => as_is(timestamp::is_timestamp(text)),
            Self::Date | Self::DateOfBirth => as_is(timestamp::is_date(text)),
            Self::Ssn => as_is(formats::is_ssn(text)),
            Self::Ban => as_is(formats::is_ban(text)),
            Self::CcNumber => formats::card_number(text, rules.luhn_required),
            Self::CcCvv => as_is(formats::is_card_verification_value(text)),
            Self::CcExpirationString => as_is(formats::is_card_expiration(text)),
            Self::UsBankRouting => as_is(formats::is_us_bank_routing(text)),
            Self::UsBankAccountNumber => as_is(!text.is_empty()),
            Self::ObjectId => formats::object_id(text),
            // Choice: an empty tenant is refused too, because an empty item of the tenants' header means "absent".
            Self::TenantId => as_is(!text.is_empty() && !text.contains(',')),
            // These are no strings on the wire; the caller has answered for them.
            Self::Json | Self::Integer | Self::Double | Self::Boolean => None,
        };
        let normal = normal.ok_or_else(|| self.violation(self.rule()))?;
        if is_string && normal.chars().nth(max).is_some() {
            return Err(too_long());
        }
        Ok(normal)
    }

    fn check_blob(self, text: &str, bytes_max: usize) -> Result<(), Violation> {
        let too_large = || self.violation(format!("be at most {bytes_max} bytes long"));
        // Four characters make three bytes: decide by the length before anything is decoded.
        if text.len() / 4 > bytes_max / 3 + 1 {
            return Err(too_large());
        }
        let bytes = BASE64
            .decode(text)
            .map_err(|_| self.violation(self.rule()))?;
        if bytes.len() > bytes_max {
            return Err(too_large());
        }
        Ok(())
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom("not a built-in data type"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(data_type: DataType, value: &Value) -> Option<Value> {
        data_type
            .validate_and_normalize(value, &ValueRules::default())
            .ok()
    }

    #[test]
    fn names_are_unique_and_read_back() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::from_name(data_type.name()), Some(data_type));
            let json = serde_json::to_string(&data_type).unwrap();
            assert_eq!(serde_json::from_str::<DataType>(&json).unwrap(), data_type);
            assert_eq!(data_type.base().base(), data_type.base());
        }
        assert_eq!(DataType::from_name("LONGTEXT"), Some(DataType::LongText));
        assert_eq!(DataType::from_name("ssn"), None, "case-sensitive");
        assert!(serde_json::from_str::<DataType>("\"MY_TYPE\"").is_err());
    }

    #[test]
    fn only_three_types_cannot_be_indexed() {
        let refused: Vec<&str> = DataType::ALL
            .into_iter()
            .filter(|data_type| !data_type.is_indexable())
            .map(DataType::name)
            .collect();
        assert_eq!(refused, ["LONG_TEXT", "JSON", "BLOB"]);
    }

    #[test]
    fn what_clients_wrote_comes_back_verbatim() {
        for (data_type, text) in [
            (DataType::Email, "John@SomeMail.com"),
            (DataType::Ssn, "123 12 1234"),
            (DataType::PhoneNumber, "+1121212123"),
            (DataType::Timestamp, "2022-07-20T00:19:28.386427+02:00"),
            (DataType::Date, "2024-02-29"),
            (DataType::Url, "HTTPS://Example.com/%7e"),
            (DataType::ZipCodeUs, "12345 6789"),
            (DataType::TenantId, "e\u{301} tenant"),
            (DataType::LongText, "e\u{301}"),
            (DataType::UsBankAccountNumber, " 12 "),
            (DataType::Blob, "aGVsbG8="),
            (DataType::Json, "{ \"a\" : 1 }"),
        ] {
            assert_eq!(
                stored(data_type, &json!(text)),
                Some(json!(text)),
                "{data_type}"
            );
        }
    }

    #[test]
    fn documented_normalizations() {
        for (data_type, written, kept) in [
            (DataType::String, "e\u{301}", "\u{e9}"),
            (DataType::Name, "A\u{30a}", "\u{c5}"),
            (DataType::PhoneNumber, "+1-121212123", "+1121212123"),
            (
                DataType::CcNumber,
                "4012 8888-8888 1881",
                "4012888888881881",
            ),
            (
                DataType::ObjectId,
                "CC9A39C5-4734-4786-B317-E16705D5128F",
                "cc9a39c5-4734-4786-b317-e16705d5128f",
            ),
        ] {
            assert_eq!(
                stored(data_type, &json!(written)),
                Some(json!(kept)),
                "{data_type}"
            );
        }
    }

    #[test]
    fn numbers_and_booleans_are_json() {
        for value in [json!(0), json!(i64::MAX), json!(i64::MIN)] {
            assert_eq!(stored(DataType::Integer, &value), Some(value));
        }
        for value in [
            json!("5"),
            json!(5.0),
            json!(u64::MAX),
            json!(true),
            json!(null),
            json!([5]),
        ] {
            assert_eq!(stored(DataType::Integer, &value), None, "{value}");
        }
        assert_eq!(stored(DataType::Double, &json!(5)), Some(json!(5)));
        assert_eq!(stored(DataType::Double, &json!(-0.5)), Some(json!(-0.5)));
        assert_eq!(stored(DataType::Double, &json!("0.5")), None);
        assert_eq!(stored(DataType::Boolean, &json!(false)), Some(json!(false)));
        for value in [json!("true"), json!(1), json!(null)] {
            assert_eq!(stored(DataType::Boolean, &value), None, "{value}");
        }
    }

    #[test]
    fn json_is_kept_as_it_was_written() {
        for value in [
            json!({"a": [1, null]}),
            json!([]),
            json!(1),
            json!("[1]"),
            json!("null"),
        ] {
            assert_eq!(stored(DataType::Json, &value), Some(value));
        }
        for value in [json!("{"), json!(""), json!("{} x"), json!(null)] {
            assert_eq!(stored(DataType::Json, &value), None, "{value}");
        }
        let deep = json!("[".repeat(100_000));
        assert_eq!(stored(DataType::Json, &deep), None, "no stack overflow");
    }

    #[test]
    fn blobs() {
        for good in ["", "aGVsbG8=", "aGVsbG9="] {
            assert!(stored(DataType::Blob, &json!(good)).is_some(), "{good}");
        }
        for bad in ["aGVsbG8", "aGVsbG8-", "aGVs bG8=", "=", "a"] {
            assert!(stored(DataType::Blob, &json!(bad)).is_none(), "{bad}");
        }
        let rules = ValueRules {
            blob_bytes_max: 4,
            ..ValueRules::default()
        };
        let check = |text: &str| DataType::Blob.validate_and_normalize(&json!(text), &rules);
        assert!(check("aGVsbA==").is_ok());
        assert_eq!(
            check("aGVsbG8=").unwrap_err().rule(),
            "be at most 4 bytes long"
        );
        assert!(check(&"AAAA".repeat(1000)).is_err());
    }

    #[test]
    fn length_counts_characters_of_the_normal_form() {
        let rules = ValueRules {
            string_chars_max: 2,
            ..ValueRules::default()
        };
        let check = |text: &str| DataType::String.validate_and_normalize(&json!(text), &rules);
        assert_eq!(check("e\u{301}e\u{301}").unwrap(), json!("éé"));
        assert_eq!(
            check("abc").unwrap_err().rule(),
            "be at most 2 characters long"
        );
        assert!(check(&"a".repeat(100)).is_err());
        let text = DataType::LongText.validate_and_normalize(&json!("abc"), &rules);
        assert!(text.is_ok(), "only STRING and what refines it is bounded");
    }

    #[test]
    fn wrong_kinds_nul_and_empty_values() {
        for data_type in [DataType::String, DataType::Email, DataType::Blob] {
            for value in [json!(5), json!(null), json!({}), json!(["a"])] {
                let violation = data_type
                    .validate_and_normalize(&value, &ValueRules::default())
                    .unwrap_err();
                assert_eq!(violation.rule(), "be a string");
            }
            assert_eq!(stored(data_type, &json!("a\0")), None);
        }
        assert!(stored(DataType::String, &json!("")).is_some());
        for data_type in [
            DataType::UsBankAccountNumber,
            DataType::TenantId,
            DataType::Date,
        ] {
            assert_eq!(stored(data_type, &json!("")), None, "{data_type}");
        }
        assert_eq!(stored(DataType::TenantId, &json!("a,b")), None);
    }

    #[test]
    fn the_check_digit_can_be_switched_off() {
        let lax = ValueRules {
            luhn_required: false,
            ..ValueRules::default()
        };
        let wrong = json!("4012888888881882");
        assert_eq!(stored(DataType::CcNumber, &wrong), None);
        assert_eq!(
            DataType::CcNumber
                .validate_and_normalize(&wrong, &lax)
                .unwrap(),
            wrong
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_normalizing_twice_changes_nothing(text: String, like in "[0-9a-fA-F +/@.:-]{0,40}") {
            for data_type in DataType::ALL {
                for text in [&text, &like] {
                    if let Some(once) = stored(data_type, &json!(text)) {
                        prop_assert_eq!(stored(data_type, &once), Some(once));
                    }
                }
            }
        }

        #[test]
        fn a_violation_never_shows_the_value(text in "[#x]{12,20}") {
            for data_type in DataType::ALL {
                if let Err(violation) = data_type.validate_and_normalize(&json!(text), &ValueRules::default()) {
                    let shown = format!("{violation} {violation:?}");
                    prop_assert!(!shown.contains(&text), "{}", shown);
                }
            }
        }
    }
}
