//! The filter language: a JSON object becomes a tree of typed terms, which a row meets or not.
//!
//! The one thing a newcomer would get wrong: everything that can be wrong with a filter is found before the first row is
//! read, with the place where it stands; a tree that was built can be asked about any row and cannot fail.

use std::cmp::Ordering;

use engine::clock::Timestamp;
use serde_json::{Map, Number, Value};

use super::date_time;
use super::error::{Problem, ProblemType, Refusal, echoed};
use super::fields::{Datum, Field, FieldSpec, Kind, Row};

/// Objects of terms one inside the other.
pub(super) const DEPTH_MAX: usize = 16;
/// Terms of a filter; each operator is one, and so is each item of the arrays that are compared with.
pub(super) const TERMS_MAX: usize = 500;

/// A filter.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Filter {
    /// All of these hold; none is no restriction.
    All(Vec<Self>),
    /// At least one holds.
    Any(Vec<Self>),
    /// A field meets a test.
    Field(&'static FieldSpec, Test),
    /// A word begins so.
    Keyword(String),
    /// The contrary.
    Not(Box<Self>),
}

/// What is asked of a field.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Test {
    /// It is one of these.
    OneOf(Vec<Operand>),
    /// It stands so to this.
    Compared(Relation, Operand),
    /// It holds all of these.
    Holds(Vec<String>),
    /// This is a part of it, whatever the case; kept in lower case.
    Part(String),
    /// It begins with this, whatever the case; kept in lower case.
    Prefix(String),
}

/// An order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What a field is compared with.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    Null,
    Flag(bool),
    Number(Number),
    Instant(Timestamp),
    Text(String),
}

/// Why a filter is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FilterError {
    kind: ProblemType,
    /// Where, as in `$and[1].name.$gt`.
    pub place: String,
    reason: String,
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        let place = if error.place.is_empty() {
            "filter".to_owned()
        } else {
            error.place
        };
        let reason = format!("{place}: {}", error.reason);
        Self::bad(Problem::with(error.kind, place, reason))
    }
}

/// Reads a filter over these fields.
pub(super) fn parse(
    body: &Map<String, Value>,
    fields: &'static [FieldSpec],
) -> Result<Filter, FilterError> {
    let mut parser = Parser {
        fields,
        terms: 0,
        place: Vec::new(),
    };
    parser.object(body, 1)
}

struct Parser {
    fields: &'static [FieldSpec],
    terms: usize,
    place: Vec<String>,
}

impl Parser {
    fn object(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Filter, FilterError> {
        if depth > DEPTH_MAX {
            return Err(self.illegal(format!("filters nest at most {DEPTH_MAX} deep")));
        }
        let mut all = Vec::new();
        for (key, value) in object {
            self.place.push(echoed(key));
            match key.as_str() {
                "$and" => all.push(Filter::All(self.terms_of(value, depth)?)),
                "$or" => all.push(Filter::Any(self.terms_of(value, depth)?)),
                "$keyword_prefix" => all.push(self.keyword(value)?),
                "$keyword_prefix_not" => all.push(Filter::Not(Box::new(self.keyword(value)?))),
                operator if operator.starts_with('$') => {
                    return Err(self.illegal("there is no such operator here"));
                }
                name => self.field(name, value, &mut all)?,
            }
            self.place.pop();
        }
        Ok(Filter::All(all))
    }

    fn terms_of(&mut self, value: &Value, depth: usize) -> Result<Vec<Filter>, FilterError> {
        self.count(1)?;
        let Value::Array(items) = value else {
            return Err(self.wrong_type("an array of terms"));
        };
        if items.is_empty() {
            return Err(self.illegal("at least one term is needed"));
        }
        let mut terms = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.place.push(format!("[{index}]"));
            let Value::Object(object) = item else {
                return Err(self.wrong_type("a term, which is an object"));
            };
            self.count(1)?;
            terms.push(self.object(object, depth + 1)?);
            self.place.pop();
        }
        Ok(terms)
    }

    fn keyword(&mut self, value: &Value) -> Result<Filter, FilterError> {
        self.count(1)?;
        Ok(Filter::Keyword(self.text(value)?.to_lowercase()))
    }

    fn field(
        &mut self,
        name: &str,
        value: &Value,
        all: &mut Vec<Filter>,
    ) -> Result<(), FilterError> {
        let Some(spec) = self.fields.iter().find(|spec| spec.name == name) else {
            return Err(self.illegal("there is no such field"));
        };
        let Value::Object(operators) = value else {
            all.push(self.operator(spec, "$eq", value)?);
            return Ok(());
        };
        if operators.is_empty() {
            return Err(self.illegal("at least one operator is needed"));
        }
        for (operator, operand) in operators {
            self.place.push(echoed(operator));
            all.push(self.operator(spec, operator, operand)?);
            self.place.pop();
        }
        Ok(())
    }

    fn operator(
        &mut self,
        spec: &'static FieldSpec,
        operator: &str,
        value: &Value,
    ) -> Result<Filter, FilterError> {
        self.count(1)?;
        let test = match operator {
            "$eq" | "$ne" => Test::OneOf(vec![self.operand(spec.kind, value)?]),
            "$in" | "$nin" => {
                let Value::Array(items) = value else {
                    return Err(self.wrong_type("an array"));
                };
                self.count(items.len())?;
                let operands = items.iter().map(|item| self.operand(spec.kind, item));
                Test::OneOf(operands.collect::<Result<_, _>>()?)
            }
            "$gt" => self.compared(spec, Relation::Greater, value)?,
            "$gte" => self.compared(spec, Relation::GreaterOrEqual, value)?,
            "$lt" => self.compared(spec, Relation::Less, value)?,
            "$lte" => self.compared(spec, Relation::LessOrEqual, value)?,
            "$contains" | "$ncontains" => self.holds(spec, value)?,
            "$isubstr" => Test::Part(self.lowered(spec, value)?),
            "$iprefix" | "$niprefix" => Test::Prefix(self.lowered(spec, value)?),
            _ => return Err(self.illegal("there is no such operator for a field")),
        };
        let term = Filter::Field(spec, test);
        Ok(match operator {
            "$ne" | "$nin" | "$ncontains" | "$niprefix" => Filter::Not(Box::new(term)),
            _ => term,
        })
    }

    fn compared(
        &self,
        spec: &FieldSpec,
        relation: Relation,
        value: &Value,
    ) -> Result<Test, FilterError> {
        if !matches!(value, Value::Number(_) | Value::String(_)) {
            return Err(self.wrong_type("a number or a string"));
        }
        if spec.kind == Kind::Flag {
            return Err(self.illegal("this field has no order"));
        }
        Ok(Test::Compared(relation, self.operand(spec.kind, value)?))
    }

    fn holds(&mut self, spec: &FieldSpec, value: &Value) -> Result<Test, FilterError> {
        if spec.kind != Kind::Texts {
            return Err(self.illegal("this operator is for array fields"));
        }
        let Value::Array(items) = value else {
            return Err(self.wrong_type("an array of strings"));
        };
        self.count(items.len())?;
        let texts = items.iter().map(|item| self.text(item).map(str::to_owned));
        Ok(Test::Holds(texts.collect::<Result<_, _>>()?))
    }

    fn lowered(&self, spec: &FieldSpec, value: &Value) -> Result<String, FilterError> {
        if spec.kind != Kind::Text {
            return Err(self.illegal("this operator is for string fields"));
        }
        Ok(self.text(value)?.to_lowercase())
    }

    /// What a field of a kind can be compared with.
    fn operand(&self, kind: Kind, value: &Value) -> Result<Operand, FilterError> {
        match (kind, value) {
            (Kind::Texts, _) => {
                Err(self.illegal("an array field takes only $contains and $ncontains"))
            }
            (_, Value::Null) => Ok(Operand::Null),
            (Kind::Flag, Value::Bool(flag)) => Ok(Operand::Flag(*flag)),
            (Kind::Number, Value::Number(number)) => Ok(Operand::Number(number.clone())),
            (Kind::Text, Value::String(text)) => Ok(Operand::Text(text.clone())),
            (Kind::Instant, Value::String(text)) => match date_time::parse(text) {
                Some(at) => Ok(Operand::Instant(at)),
                None => Err(self.wrong_type("a date-time with a zone, as in 2027-01-31T00:00:00Z")),
            },
            (Kind::Flag, _) => Err(self.wrong_type("true or false")),
            (Kind::Number, _) => Err(self.wrong_type("a number")),
            (Kind::Text, _) => Err(self.wrong_type("a string")),
            (Kind::Instant, _) => Err(self.wrong_type("a date-time as a string")),
        }
    }

    fn text<'a>(&self, value: &'a Value) -> Result<&'a str, FilterError> {
        value.as_str().ok_or_else(|| self.wrong_type("a string"))
    }

    fn count(&mut self, terms: usize) -> Result<(), FilterError> {
        self.terms = self.terms.saturating_add(terms);
        if self.terms > TERMS_MAX {
            return Err(self.illegal(format!("a filter has at most {TERMS_MAX} terms")));
        }
        Ok(())
    }

    fn illegal(&self, reason: impl Into<String>) -> FilterError {
        self.error(ProblemType::IllegalArgument, reason.into())
    }

    fn wrong_type(&self, wanted: &str) -> FilterError {
        self.error(ProblemType::IncorrectDataType, format!("must be {wanted}"))
    }

    fn error(&self, kind: ProblemType, reason: String) -> FilterError {
        let mut place = String::new();
        for part in &self.place {
            if !place.is_empty() && !part.starts_with('[') {
                place.push('.');
            }
            place.push_str(part);
        }
        FilterError {
            kind,
            place,
            reason,
        }
    }
}

impl Filter {
    /// Whether a row meets it.
    pub(super) fn matches(&self, row: &impl Row) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.matches(row)),
            Self::Any(terms) => terms.iter().any(|term| term.matches(row)),
            Self::Field(spec, test) => test.matches(&row.datum(spec.field)),
            Self::Keyword(prefix) => row
                .words()
                .to_lowercase()
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| !word.is_empty() && word.starts_with(prefix.as_str())),
            Self::Not(term) => !term.matches(row),
        }
    }

    /// Whether it asks for one of these fields.
    pub(super) fn asks_for(&self, fields: &[Field]) -> bool {
        match self {
            Self::All(terms) | Self::Any(terms) => terms.iter().any(|term| term.asks_for(fields)),
            Self::Field(spec, _) => fields.contains(&spec.field),
            Self::Keyword(_) => false,
            Self::Not(term) => term.asks_for(fields),
        }
    }
}

impl Test {
    fn matches(&self, datum: &Datum<'_>) -> bool {
        match (self, datum) {
            (Self::OneOf(operands), _) => operands
                .iter()
                .any(|operand| operand.order(datum) == Some(Ordering::Equal)),
            // Nothing is neither more nor less than anything.
            (Self::Compared(..), Datum::Null) => false,
            (Self::Compared(relation, operand), _) => operand
                .order(datum)
                .is_some_and(|order| relation.allows(order)),
            (Self::Holds(wanted), Datum::Texts(texts)) => wanted
                .iter()
                .all(|one| texts.iter().any(|text| text == one)),
            (Self::Part(part), Datum::Text(text)) => text.to_lowercase().contains(part.as_str()),
            (Self::Prefix(prefix), Datum::Text(text)) => {
                text.to_lowercase().starts_with(prefix.as_str())
            }
            (Self::Holds(_) | Self::Part(_) | Self::Prefix(_), _) => false,
        }
    }
}

impl Relation {
    /// How the field stands to the operand.
    const fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

impl Operand {
    /// How a field's value stands to this; `None` if the two have no order.
    fn order(&self, datum: &Datum<'_>) -> Option<Ordering> {
        match (datum, self) {
            (Datum::Null, Self::Null) => Some(Ordering::Equal),
            (Datum::Flag(value), Self::Flag(operand)) => Some(value.cmp(operand)),
            (Datum::Number(value), Self::Number(operand)) => order_of_numbers(*value, operand),
            (Datum::Instant(value), Self::Instant(operand)) => Some(value.cmp(operand)),
            (Datum::Text(value), Self::Text(operand)) => Some((**value).cmp(operand.as_str())),
            _ => None,
        }
    }
}

fn order_of_numbers(value: i64, operand: &Number) -> Option<Ordering> {
    if let Some(operand) = operand.as_i64() {
        return Some(value.cmp(&operand));
    }
    if operand.as_u64().is_some() {
        return Some(Ordering::Less);
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "versions are far below 2^53, where a double stops to tell whole numbers apart"
    )]
    (value as f64).partial_cmp(&operand.as_f64()?)
}

#[cfg(test)]
mod tests;
