//! The bodies that SDKs and Edge send to the client API: register, metrics, bulk metrics.
//!
//! The one thing a newcomer would get wrong: these look alike and are checked differently. `connectVia` may be `null` when
//! registering and must be a list in bulk; numbers are `number` in one and `integer` in the other; and what the handler
//! refuses is told when registering but answered with an empty 400 for metrics. SDKs in the field rely on each.
//!
//! Members that nothing is done with are checked and dropped.

use std::fmt;

use serde_json::Value;

use super::super::error::Detail;
use super::SchemaFailure;
use super::javascript::{SAFE_INTEGER_MAX, json_number_text, quoted};
use super::walk::{DateOrNumber, Findings, NumberKind, Object, Place};

/// The largest distance from the epoch, in milliseconds, at which JavaScript still has a date.
const DATE_MILLIS_MAX: f64 = 8.64e15;

/// A client that says that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    /// The application's name, not empty.
    pub app_name: String,
    /// Which of its instances, if it says so.
    pub instance_id: Option<String>,
    /// The SDK with its version, as in `unleash-node-sdk:6.12.1`.
    pub sdk_version: Option<String>,
}

/// A client that says how often its features were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// The application's name, not empty.
    pub app_name: String,
    /// Which of its instances, if it says so.
    pub instance_id: Option<String>,
}

/// What Edge has gathered from its clients.
#[derive(Clone)]
pub(crate) struct Bulk {
    /// The applications behind it.
    pub applications: Vec<BulkApplication>,
    /// Their metrics.
    pub metrics: Vec<BulkMetric>,
    /// Secrets of tokens that it has seen in use. Texts, not checked secrets.
    pub seen_tokens: Vec<String>,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk")
            .field("applications", &self.applications)
            .field("metrics", &self.metrics)
            .field("seen_tokens", &self.seen_tokens.len())
            .finish()
    }
}

/// An application behind Edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BulkApplication {
    /// Its name; may be empty here.
    pub app_name: String,
    /// Which of its instances.
    pub instance_id: String,
    /// The environment of the token it uses.
    pub environment: String,
}

/// How often one feature was asked for by one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BulkMetric {
    /// The feature's name.
    pub feature_name: String,
    /// The application's name.
    pub app_name: String,
    /// The environment; those of another environment than the token's are to be dropped.
    pub environment: String,
}

/// What describes an SDK, in the schema's order; strings if they are there.
const SDK_MEMBERS: [&str; 5] = [
    "sdkVersion",
    "platformName",
    "platformVersion",
    "yggdrasilVersion",
    "specVersion",
];

/// The body of `POST /api/client/register`.
///
/// # Errors
/// The schema's finding, or the first of the handler's.
pub(crate) fn parse_register(body: &Value) -> Result<Registration, SchemaFailure> {
    let body = Place::body(body).object()?;
    body.require(&["appName", "interval", "started", "strategies"])?;
    let app_name = body.expect("appName").non_empty_string()?.into_owned();
    let instance_id = body.optional_string("instanceId")?;
    body.check_strings(&SDK_MEMBERS)?;
    let interval = body
        .expect("interval")
        .number_from_zero(NumberKind::Number)?;
    let started = body.expect("started").date_or_number(NumberKind::Number)?;
    body.expect("strategies").strings()?;

    let sdk_version = body.optional_string("sdkVersion")?;
    if sdk_version.as_deref() == Some("") {
        return Err(told("\"sdkVersion\" is not allowed to be empty."));
    }
    let no_date = match &started {
        DateOrNumber::Date(text, None) => Some(quoted(text)),
        DateOrNumber::Number(number) if number.abs() > DATE_MILLIS_MAX => {
            Some(json_number_text(*number))
        }
        DateOrNumber::Date(_, Some(_)) | DateOrNumber::Number(_) => None,
    };
    if let Some(provided) = no_date {
        return Err(told(&format!(
            "\"started\" must be a valid date. You provided {provided}."
        )));
    }
    if interval > SAFE_INTEGER_MAX {
        let broken = if interval.is_infinite() {
            "cannot be infinity"
        } else {
            "must be a safe number"
        };
        let provided = json_number_text(interval);
        return Err(told(&format!(
            "\"interval\" {broken}. You provided {provided}."
        )));
    }
    Ok(Registration {
        app_name,
        instance_id,
        sdk_version,
    })
}

fn told(message: &str) -> SchemaFailure {
    SchemaFailure::Handler(vec![Detail::of_handler(message)])
}

/// The body of `POST /api/client/metrics`.
///
/// # Errors
/// The schema's finding; [`SchemaFailure::Silent`] for dates and numbers that name nothing.
pub(crate) fn parse_metrics(body: &Value) -> Result<Metrics, SchemaFailure> {
    let body = Place::body(body).object()?;
    body.require(&["appName"])?;
    let app_name = body.expect("appName").non_empty_string()?.into_owned();
    let instance_id = body.optional_string("instanceId")?;
    body.check_strings(&SDK_MEMBERS)?;
    let sound = match body.get("bucket") {
        Some(bucket) if !bucket.is_null() => check_bucket(&bucket.object()?)?,
        _ => true,
    };
    if !sound {
        return Err(SchemaFailure::Silent);
    }
    Ok(Metrics {
        app_name,
        instance_id,
    })
}

/// Whether the handler, too, would take the bucket that the schema takes.
fn check_bucket(bucket: &Object<'_>) -> Result<bool, Findings> {
    bucket.require(&["start", "stop", "toggles"])?;
    let start = bucket.expect("start").date_or_number(NumberKind::Integer)?;
    let stop = bucket.expect("stop").date_or_number(NumberKind::Integer)?;
    let mut sound = is_date(&start) && is_date(&stop);
    for (_, toggle) in bucket.expect("toggles").object()?.members() {
        let toggle = toggle.object()?;
        // `yes` may be a fraction here, `no` may not; so the schema says.
        for (key, kind) in [("yes", NumberKind::Number), ("no", NumberKind::Integer)] {
            if let Some(count) = toggle.get(key) {
                sound &= count.number_from_zero(kind)? <= SAFE_INTEGER_MAX;
            }
        }
        if let Some(variants) = toggle.get("variants")
            && !variants.is_null()
        {
            sound &= check_variants(variants)?;
        }
    }
    Ok(sound)
}

/// Whether the handler, too, would take the counts that the schema takes.
fn check_variants(variants: Place<'_>) -> Result<bool, Findings> {
    let mut sound = true;
    for (_, count) in variants.object()?.members() {
        sound &= count.number_from_zero(NumberKind::Integer)? <= SAFE_INTEGER_MAX;
    }
    Ok(sound)
}

fn is_date(value: &DateOrNumber) -> bool {
    match value {
        DateOrNumber::Date(_, instant) => instant.is_some(),
        DateOrNumber::Number(number) => number.abs() <= DATE_MILLIS_MAX,
    }
}

/// The body of `POST /api/client/metrics/bulk`.
///
/// # Errors
/// The schema's finding; [`SchemaFailure::Silent`] for dates and numbers that name nothing.
pub(crate) fn parse_bulk(body: &Value) -> Result<Bulk, SchemaFailure> {
    let body = Place::body(body).object()?;
    body.require(&["applications", "metrics"])?;
    let applications = body
        .expect("applications")
        .items()?
        .map(parse_application)
        .collect::<Result<_, _>>()?;
    let mut sound = true;
    let metrics = body
        .expect("metrics")
        .items()?
        .map(|item| parse_metric(item, &mut sound))
        .collect::<Result<_, _>>()?;
    if let Some(impact) = body.get("impactMetrics") {
        // Nothing is done with these, and their kinds grow from version to version: only their frame is checked.
        impact
            .items()?
            .try_for_each(|item| item.object().map(drop))?;
    }
    let seen_tokens = body
        .get("seenTokens")
        .map(|place| place.strings())
        .transpose()?
        .unwrap_or_default();
    if !sound {
        return Err(SchemaFailure::Silent);
    }
    Ok(Bulk {
        applications,
        metrics,
        seen_tokens,
    })
}

fn parse_application(item: Place<'_>) -> Result<BulkApplication, Findings> {
    let item = item.object()?;
    item.require(&["appName", "instanceId", "environment"])?;
    if let Some(via) = item.get("connectVia") {
        for proxy in via.items()? {
            let proxy = proxy.object()?;
            proxy.require(&["appName", "instanceId"])?;
            proxy.check_strings(&["appName", "instanceId"])?;
        }
    }
    let app_name = item.expect("appName").string()?.into_owned();
    let environment = item.expect("environment").string()?.into_owned();
    let instance_id = item.expect("instanceId").string()?.into_owned();
    if let Some(interval) = item.get("interval") {
        interval.number(NumberKind::Number)?;
    }
    if let Some(started) = item.get("started") {
        started.date_or_number(NumberKind::Integer)?;
    }
    for key in ["strategies", "projects"] {
        if let Some(names) = item.get(key) {
            names.strings()?;
        }
    }
    item.check_strings(&["sdkVersion"])?;
    check_sdk_type(&item)?;
    Ok(BulkApplication {
        app_name,
        instance_id,
        environment,
    })
}

/// `frontend`, `backend` or `null`. The finding names the member without its path, repeats the text unescaped, and ends
/// in two points.
fn check_sdk_type(item: &Object<'_>) -> Result<(), Findings> {
    let Some(place) = item.get("sdkType").filter(|place| !place.value().is_null()) else {
        return Ok(());
    };
    let text = place.string()?;
    if matches!(&*text, "frontend" | "backend") {
        return Ok(());
    }
    Err(vec![Detail::of_schema(
        format!(
            "The `sdkType` property must be equal to one of the allowed values: \"frontend\", \"backend\", \"null\". You provided \"{text}\", which is not valid. Please use one of the allowed values instead.."
        ),
        "sdkType",
    )])
}

fn parse_metric(item: Place<'_>, sound: &mut bool) -> Result<BulkMetric, Findings> {
    let item = item.object()?;
    item.require(&["featureName", "appName", "environment"])?;
    let feature_name = item.expect("featureName").string()?.into_owned();
    let app_name = item.expect("appName").string()?.into_owned();
    let environment = item.expect("environment").string()?.into_owned();
    if let Some(timestamp) = item.get("timestamp") {
        *sound &= is_date(&timestamp.date_or_number(NumberKind::Integer)?);
    }
    for key in ["yes", "no"] {
        if let Some(count) = item.get(key) {
            *sound &= count.number_from_zero(NumberKind::Integer)? <= SAFE_INTEGER_MAX;
        }
    }
    if let Some(variants) = item.get("variants") {
        *sound &= check_variants(variants)?;
    }
    Ok(BulkMetric {
        feature_name,
        app_name,
        environment,
    })
}

#[cfg(test)]
mod tests;
