//! What SDKs and Edge may send, and what is refused, with the texts.
//!
//! The one thing a newcomer would get wrong: the three bodies differ in places where they look alike; each has its cases.

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
        (
            json!({"appName": "a", "bucket": {}}),
            required("/body/bucket/start"),
        ),
        (
            json!({"appName": "a", "bucket": {"start": 1, "toggles": 5}}),
            required("/body/bucket/stop"),
        ),
        (
            json!({"appName": "a", "bucket": {"start": 1, "stop": 5}}),
            required("/body/bucket/toggles"),
        ),
        (
            json!({"appName": "a", "bucket": []}),
            "The `/body/bucket` property must be object. You sent [].".into(),
        ),
        (
            json!({"appName": "", "bucket": []}),
            "The `/body/appName` property must NOT have fewer than 1 characters. You sent \"\"."
                .into(),
        ),
        (
            toggle(&json!(null)),
            "The `/body/bucket/toggles/f` property must be object. You sent null.".into(),
        ),
        (
            toggle(&json!({"variants": 5, "no": 1.5})),
            "The `/body/bucket/toggles/f/no` property must be integer. You sent 1.5.".into(),
        ),
        (
            toggle(&json!({"no": "x", "yes": "x"})),
            "The `/body/bucket/toggles/f/yes` property must be number. You sent \"x\".".into(),
        ),
        (
            toggle(&json!({"yes": -1})),
            "The `/body/bucket/toggles/f/yes` property must be >= 0. You sent -1.".into(),
        ),
        (
            toggle(&json!({"variants": []})),
            "The `/body/bucket/toggles/f/variants` property must be object. You sent [].".into(),
        ),
        (
            toggle(&json!({"variants": {"a": 1.5}})),
            "The `/body/bucket/toggles/f/variants/a` property must be integer. You sent 1.5."
                .into(),
        ),
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
