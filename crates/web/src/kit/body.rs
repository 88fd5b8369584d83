//! Request bodies, read whole under a limit.
//!
//! The one thing to know: the limit is each dialect's, and so is what it answers beyond it; here it only stops reading.

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the limit.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The client stopped sending, or sent a broken encoding.
    #[error("the body broke off")]
    Broken,
}

/// The whole body, at most `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_is_the_last_size_that_passes() {
        assert_eq!(read(Body::from("12345"), 5).await, Ok(Bytes::from("12345")));
        assert_eq!(
            read(Body::from("123456"), 5).await,
            Err(BodyError::TooLarge)
        );
    }
}
