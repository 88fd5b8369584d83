//! `POST /api/v1/admin/bootstrap`: sets a development server up, once.
//!
//! The one thing a newcomer would get wrong: whoever comes first is the administrator. So it is open only in development;
//! anywhere else the first start has done it, and the answer is that it has been done.

use axum::extract::State;
use axum::response::Response;
use engine::caller::Caller;

use super::Infisical;
use super::document::{AnyRefusal, BodyRefusal, BootstrapRequest, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::schema::Fields;
use super::seed::ADMIN_IDENTITY_NAME;
use super::wire::{BootstrapAnswer, FirstCredentials, FirstIdentity, WireOrganization, WireUser};

/// Bootstrap
///
/// Makes the organization, the identity that administers it, and its first token. Works once, on a development server.
#[utoipa::path(
    post,
    path = "/api/v1/admin/bootstrap",
    operation_id = "bootstrapInstance",
    tag = "Admin",
    request_body(content = BootstrapRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The instance is set up.", body = BootstrapAnswer),
        AnyRefusal,
        BodyRefusal,
        StoreAway,
    )
)]
pub(super) async fn bootstrap(State(infisical): State<Infisical>, incoming: Incoming) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<BootstrapAnswer, WireError> {
    infisical.whoever(incoming).await?;
    let body = incoming.json().await?;
    let mut fields = Fields::of(body.as_ref())?;
    let email = fields.required_text("email");
    let password = fields.required_text("password");
    let name = fields.required_text("organization");
    if fields.is_clean() {
        if !is_email(&email) {
            fields.custom("email", "Invalid email");
        }
        if !(8..=256).contains(&password.chars().count()) {
            fields.custom("password", "must have 8 to 256 characters");
        }
        if !(1..=64).contains(&name.chars().count()) {
            fields.custom("organization", "must have 1 to 64 characters");
        }
    }
    fields.finish()?;
    // Nobody logs in with it, so nobody keeps it.
    drop(zeroize::Zeroizing::new(password));
    if !infisical.settings().open_until_bootstrapped {
        return Err(set_up_already());
    }
    let caller = Caller::system(infisical.realm(), incoming.trace.id());
    let founded = infisical.found(&caller, &name, Some(&email)).await?;
    let founded = founded.ok_or_else(set_up_already)?;
    Ok(BootstrapAnswer {
        message: "Successfully bootstrapped instance",
        user: WireUser {
            username: email.clone(),
            first_name: "Admin",
            last_name: "User",
            email,
            id: founded.user.map_or_else(uuid::Uuid::nil, |user| user.0),
            super_admin: true,
        },
        organization: WireOrganization::of(founded.organization, infisical.realm()),
        identity: FirstIdentity {
            id: founded.identity.0,
            name: ADMIN_IDENTITY_NAME,
            credentials: FirstCredentials {
                token: founded.jwt.expose().to_owned(),
            },
        },
    })
}

fn set_up_already() -> WireError {
    error::bad_request("Instance has already been set up")
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let plain =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@');
    plain(local) && plain(domain) && domain.contains('.') && text.len() <= 254
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_at_and_a_domain() {
        assert!(is_email("ann@example.com"));
        for bad in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "a@b@c.d",
            "a b@example.com",
            "ann@host",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
