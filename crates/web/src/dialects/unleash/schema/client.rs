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
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::walk::arbitrary_json;
    use super::*;

    /// `base` with some members set; `null` in `changes` is a value, not a removal.
    fn changed(base: &Value, changes: Value) -> Value {
        let mut body = base.clone();
        let Value::Object(changes) = changes else {
            panic!("an object of changes");
        };
        for (key, value) in changes {
            body[key] = value;
        }
        body
    }

    fn findings<T: fmt::Debug>(result: Result<T, SchemaFailure>) -> Vec<String> {
        match result.unwrap_err() {
            SchemaFailure::Middleware(details) | SchemaFailure::Handler(details) => details
                .iter()
                .map(|detail| detail.message().to_owned())
                .collect(),
            SchemaFailure::Silent => vec!["(silent)".into()],
        }
    }

    fn is_handler<T>(result: &Result<T, SchemaFailure>) -> bool {
        matches!(result, Err(SchemaFailure::Handler(_)))
    }

    fn required(path: &str) -> String {
        format!("The `{path}` property is required. It was not present on the data you sent.")
    }

    fn registering() -> Value {
        json!({"appName": "a", "interval": 10, "started": "2026-11-22T00:00:00Z", "strategies": ["default"]})
    }

    #[test]
    fn registration_as_clients_send_it() {
        let edge = json!({"appName": "unleash-edge", "connectVia": null, "environment": "development", "projects": ["default"], "instanceId": "i", "connectionId": "c", "interval": 15, "started": "2026-11-22T01:46:38.578783123Z", "strategies": [], "sdkVersion": "unleash-edge:20.1.0", "sdkType": "backend", "yggdrasilVersion": null, "platformName": null, "platformVersion": null});
        assert_eq!(
            parse_register(&edge).unwrap(),
            Registration {
                app_name: "unleash-edge".into(),
                instance_id: Some("i".into()),
                sdk_version: Some("unleash-edge:20.1.0".into()),
            }
        );
        for changes in [
            json!({"started": "2026-11-22T00:00:00+00:00", "interval": 1.5}),
            json!({"started": 5}),
            json!({"started": "123", "interval": "10"}),
            json!({"interval": null, "strategies": [1, null]}),
            json!({"environment": {}, "projects": "x", "sdkType": {}, "connectVia": {}}),
            json!({"instanceId": null, "specVersion": ""}),
        ] {
            let body = changed(&registering(), changes);
            assert!(parse_register(&body).is_ok(), "{body}");
        }
    }

    #[test]
    fn registration_findings() {
        for key in ["appName", "interval", "started", "strategies"] {
            let mut body = registering();
            body.as_object_mut().unwrap().remove(key);
            assert_eq!(
                findings(parse_register(&body)),
                [required(&format!("/body/{key}"))]
            );
        }
        for (changes, finding) in [
            (
                json!({"appName": null}),
                "The `/body/appName` property must NOT have fewer than 1 characters. You sent \"\".",
            ),
            (
                json!({"appName": [], "instanceId": {}}),
                "The `/body/appName` property must be string. You sent [].",
            ),
            (
                json!({"specVersion": {}, "interval": {}}),
                "The `/body/specVersion` property must be string. You sent {}.",
            ),
            (
                json!({"interval": "", "started": {}}),
                "The `/body/interval` property must be number. You sent \"\".",
            ),
            (
                json!({"interval": -1}),
                "The `/body/interval` property must be >= 0. You sent -1.",
            ),
            (
                json!({"interval": "-Infinity"}),
                "The `/body/interval` property must be >= 0. You sent null.",
            ),
            (
                json!({"strategies": null}),
                "The `/body/strategies` property must be array. You sent null.",
            ),
            (
                json!({"strategies": [{}]}),
                "The `/body/strategies/0` property must be string. You sent {}.",
            ),
        ] {
            let result = parse_register(&changed(&registering(), changes));
            assert!(!is_handler(&result));
            assert_eq!(findings(result), [finding]);
        }
        let started = findings(parse_register(&changed(
            &registering(),
            json!({"started": "x"}),
        )));
        assert_eq!(
            started,
            [
                "The `/body/started` property must match format \"date-time\". You sent \"x\".",
                "The `/body/started` property must be number. You sent \"x\".",
                "The \"/body/started\" property must match exactly one schema in oneOf. The data you provided matches more than one option in the schema. These options are mutually exclusive. Please refer back to the schema and remove any excess properties.",
            ]
        );
    }

    #[test]
    fn registration_rules_of_the_handler_come_one_at_a_time() {
        for (changes, finding) in [
            (
                json!({"sdkVersion": null, "interval": 1e300, "started": "2016-12-31T23:59:60Z"}),
                "\"sdkVersion\" is not allowed to be empty.",
            ),
            (
                json!({"interval": 1e300, "started": "2016-12-31T23:59:60Z"}),
                "\"started\" must be a valid date. You provided \"2016-12-31T23:59:60Z\".",
            ),
            (
                json!({"started": 8.65e15}),
                "\"started\" must be a valid date. You provided 8650000000000000.",
            ),
            (
                json!({"started": "Infinity"}),
                "\"started\" must be a valid date. You provided null.",
            ),
            (
                json!({"interval": 1e300}),
                "\"interval\" must be a safe number. You provided 1e+300.",
            ),
            (
                json!({"interval": "Infinity"}),
                "\"interval\" cannot be infinity. You provided null.",
            ),
        ] {
            let result = parse_register(&changed(&registering(), changes));
            assert!(is_handler(&result));
            assert_eq!(findings(result), [finding]);
        }
    }

    fn measuring() -> Value {
        json!({"appName": "a", "bucket": {"start": "2026-11-22T00:00:00Z", "stop": "2026-11-22T00:01:00.123456789Z", "toggles": {}}})
    }

    fn toggle(toggle: &Value) -> Value {
        let mut body = measuring();
        body["bucket"]["toggles"]["f"] = toggle.clone();
        body
    }

    #[test]
    fn metrics_that_are_taken() {
        assert_eq!(
            parse_metrics(&changed(
                &measuring(),
                json!({"instanceId": "i", "environment": {}, "impactMetrics": 5})
            ))
            .unwrap(),
            Metrics {
                app_name: "a".into(),
                instance_id: Some("i".into())
            }
        );
        for body in [
            json!({"appName": "a"}),
            json!({"appName": "a", "bucket": null, "sdkVersion": ""}),
            json!({"appName": "a", "bucket": false}),
            json!({"appName": "a", "bucket": ""}),
            toggle(&json!({"yes": 1.5, "no": "2", "variants": {"a": 5, "b": null}, "other": {}})),
            toggle(&json!({"variants": null})),
        ] {
            assert!(parse_metrics(&body).is_ok(), "{body}");
        }
    }

    #[test]
    fn metrics_findings() {
        for (body, finding) in [
            (json!({}), required("/body/appName")),
            (json!({"appName": "a", "bucket": {}}), required("/body/bucket/start")),
            (json!({"appName": "a", "bucket": {"start": 1, "toggles": 5}}), required("/body/bucket/stop")),
            (json!({"appName": "a", "bucket": {"start": 1, "stop": 5}}), required("/body/bucket/toggles")),
            (json!({"appName": "a", "bucket": []}), "The `/body/bucket` property must be object. You sent [].".into()),
            (json!({"appName": "", "bucket": []}), "The `/body/appName` property must NOT have fewer than 1 characters. You sent \"\".".into()),
            (toggle(&json!(null)), "The `/body/bucket/toggles/f` property must be object. You sent null.".into()),
            (toggle(&json!({"variants": 5, "no": 1.5})), "The `/body/bucket/toggles/f/no` property must be integer. You sent 1.5.".into()),
            (toggle(&json!({"no": "x", "yes": "x"})), "The `/body/bucket/toggles/f/yes` property must be number. You sent \"x\".".into()),
            (toggle(&json!({"yes": -1})), "The `/body/bucket/toggles/f/yes` property must be >= 0. You sent -1.".into()),
            (toggle(&json!({"variants": []})), "The `/body/bucket/toggles/f/variants` property must be object. You sent [].".into()),
            (toggle(&json!({"variants": {"a": 1.5}})), "The `/body/bucket/toggles/f/variants/a` property must be integer. You sent 1.5.".into()),
        ] {
            assert_eq!(findings(parse_metrics(&body)), [finding], "{body}");
        }
        let start = json!({"appName": "a", "bucket": {"start": "", "stop": "", "toggles": {}}});
        assert_eq!(findings(parse_metrics(&start)).len(), 3);
    }

    #[test]
    fn what_the_metrics_handler_refuses_is_silent() {
        let mut leap = measuring();
        leap["bucket"]["start"] = json!("2016-12-31T23:59:60Z");
        let mut far = measuring();
        far["bucket"]["stop"] = json!(9e99);
        for body in [
            leap,
            far,
            toggle(&json!({"yes": 1e300})),
            toggle(&json!({"no": "Infinity"})),
            toggle(&json!({"variants": {"a": 1e300}})),
        ] {
            assert_eq!(parse_metrics(&body), Err(SchemaFailure::Silent), "{body}");
        }
    }

    fn application() -> Value {
        json!({"appName": "a", "instanceId": "i", "environment": "development"})
    }

    fn metric() -> Value {
        json!({"featureName": "f", "appName": "a", "environment": "development", "timestamp": "2026-11-22T00:00:00Z", "yes": 1, "no": 2, "variants": {"x": 1}})
    }

    fn bulk_of(application: &Value, metric: &Value) -> Value {
        json!({"applications": [application], "metrics": [metric]})
    }

    #[test]
    fn bulk_that_is_taken() {
        let mut body = bulk_of(
            &changed(
                &application(),
                json!({"connectVia": [{"appName": "edge", "instanceId": "e"}], "interval": -1, "started": 5, "strategies": [5], "projects": ["p"], "sdkType": "backend", "connectionId": {}}),
            ),
            &metric(),
        );
        body["seenTokens"] = json!(["hidden", 5]);
        body["impactMetrics"] = json!([{"name": "m"}]);
        let bulk = parse_bulk(&body).unwrap();
        assert_eq!(
            bulk.applications,
            [BulkApplication {
                app_name: "a".into(),
                instance_id: "i".into(),
                environment: "development".into()
            }]
        );
        assert_eq!(
            bulk.metrics,
            [BulkMetric {
                feature_name: "f".into(),
                app_name: "a".into(),
                environment: "development".into()
            }]
        );
        assert_eq!(bulk.seen_tokens, ["hidden", "5"]);
        assert!(!format!("{bulk:?}").contains("hidden"));
        let empty = parse_bulk(&json!({"applications": [], "metrics": []})).unwrap();
        assert!(empty.applications.is_empty() && empty.seen_tokens.is_empty());
    }

    #[test]
    fn bulk_findings() {
        for (body, finding) in [
            (json!({}), required("/body/applications")),
            (json!({"applications": null}), required("/body/metrics")),
            (
                json!({"applications": null, "metrics": null}),
                "The `/body/applications` property must be array. You sent null.".into(),
            ),
            (
                json!({"applications": [5], "metrics": [5]}),
                "The `/body/applications/0` property must be object. You sent 5.".into(),
            ),
            (
                json!({"applications": [{}], "metrics": [{}]}),
                required("/body/applications/0/appName"),
            ),
            (
                json!({"applications": [], "metrics": [{}], "seenTokens": 5}),
                required("/body/metrics/0/featureName"),
            ),
            (
                json!({"applications": [], "metrics": [], "seenTokens": [{}], "impactMetrics": [5]}),
                "The `/body/impactMetrics/0` property must be object. You sent 5.".into(),
            ),
            (
                json!({"applications": [], "metrics": [], "seenTokens": null}),
                "The `/body/seenTokens` property must be array. You sent null.".into(),
            ),
        ] {
            assert_eq!(findings(parse_bulk(&body)), [finding], "{body}");
        }
        for (changes, finding) in [
            (
                json!({"connectVia": null}),
                "The `/body/applications/0/connectVia` property must be array. You sent null.",
            ),
            (
                json!({"connectVia": [{"appName": {}, "instanceId": {}}]}),
                "The `/body/applications/0/connectVia/0/appName` property must be string. You sent {}.",
            ),
            (
                json!({"appName": {}, "environment": {}}),
                "The `/body/applications/0/appName` property must be string. You sent {}.",
            ),
            (
                json!({"environment": {}, "instanceId": {}}),
                "The `/body/applications/0/environment` property must be string. You sent {}.",
            ),
            (
                json!({"interval": "x", "started": {}}),
                "The `/body/applications/0/interval` property must be number. You sent \"x\".",
            ),
            (
                json!({"projects": "x", "strategies": [{}]}),
                "The `/body/applications/0/strategies/0` property must be string. You sent {}.",
            ),
            (
                json!({"sdkVersion": {}, "sdkType": true}),
                "The `/body/applications/0/sdkVersion` property must be string. You sent {}.",
            ),
            (
                json!({"sdkType": {}}),
                "The `/body/applications/0/sdkType` property must be string. You sent {}.",
            ),
            (
                json!({"sdkType": "x"}),
                "The `sdkType` property must be equal to one of the allowed values: \"frontend\", \"backend\", \"null\". You provided \"x\", which is not valid. Please use one of the allowed values instead..",
            ),
        ] {
            let body = bulk_of(&changed(&application(), changes), &metric());
            assert_eq!(findings(parse_bulk(&body)), [finding], "{body}");
        }
        for (changes, finding) in [
            (
                json!({"featureName": {}}),
                "The `/body/metrics/0/featureName` property must be string. You sent {}.",
            ),
            (
                json!({"yes": "1.5"}),
                "The `/body/metrics/0/yes` property must be integer. You sent \"1.5\".",
            ),
            (
                json!({"no": -1}),
                "The `/body/metrics/0/no` property must be >= 0. You sent -1.",
            ),
            (
                json!({"variants": null}),
                "The `/body/metrics/0/variants` property must be object. You sent null.",
            ),
        ] {
            let body = bulk_of(&application(), &changed(&metric(), changes));
            assert_eq!(findings(parse_bulk(&body)), [finding], "{body}");
        }
    }

    #[test]
    fn what_the_bulk_handler_refuses_is_silent() {
        for changes in [
            json!({"timestamp": "2016-12-31T23:59:60Z"}),
            json!({"yes": 1e300}),
            json!({"no": "Infinity"}),
        ] {
            let body = bulk_of(&application(), &changed(&metric(), changes));
            assert!(
                matches!(parse_bulk(&body), Err(SchemaFailure::Silent)),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_them_panic(
            body in arbitrary_json(&["appName", "interval", "started", "strategies", "sdkVersion", "bucket", "start", "stop", "toggles", "yes", "variants", "applications", "metrics", "instanceId", "environment", "featureName", "connectVia", "sdkType", "timestamp", "seenTokens", "impactMetrics"])
        ) {
            let _ = (parse_register(&body), parse_metrics(&body), parse_bulk(&body));
        }
    }
}
