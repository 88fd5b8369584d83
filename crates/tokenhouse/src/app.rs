//! The app: engine, realms and dialects put together, over whatever store, clock and chance it is given.
//!
//! The one thing to know: nothing here listens or waits. `serve`, the demo, the command line without a server and the
//! tests all begin with [`App::open`], so what they speak to is the same.

use std::fmt;
use std::sync::Arc;

use engine::store::JoinError;
use engine::verbs::keys::BindError;
use engine::{Engine, Parts};
use web::Doors;
use web::dialects::{self, Dialect, FirstCredential};
use web::native::{self, Control, House, MetricsText, Stopping};

use crate::config::Settings;

/// Everything that answers.
#[derive(Debug, Clone)]
pub struct App {
    /// The engine.
    pub engine: Engine,
    /// The dialects that are spoken.
    pub dialects: Vec<Arc<dyn Dialect>>,
    /// Whether it is about to stop.
    pub stopping: Stopping,
}

/// Why it cannot be put together.
#[derive(Debug)]
pub enum AppError {
    /// It cannot take its place among the nodes.
    Join(JoinError),
    /// The store is another keyring's, or uses keys that this one lacks.
    Bind(BindError),
    /// A dialect's setting.
    Setting(dialects::SettingError),
    /// The store does not do what it should.
    Engine(engine::Error),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(error) => error.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Setting(error) => error.fmt(f),
            Self::Engine(error) => write!(f, "the store cannot be used: {error}"),
        }
    }
}

impl std::error::Error for AppError {}

impl From<engine::Error> for AppError {
    fn from(error: engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl App {
    /// Puts it together: binds the store to the keyring, opens the realms of the dialects that are switched on.
    pub async fn open(parts: Parts, settings: &Settings) -> Result<Self, AppError> {
        let engine = Engine::new(parts);
        let opened = Self::open_on(&engine, settings).await;
        if opened.is_err() {
            // Nobody shall wait for a node that never came to be.
            engine.close().await;
        }
        opened
    }

    async fn open_on(engine: &Engine, settings: &Settings) -> Result<Self, AppError> {
        // First, because whoever has another keyring differs in everything, and nobody need wait for it.
        engine.bind().await.map_err(AppError::Bind)?;
        let shared = settings.shared_by_nodes();
        engine.join(&shared).await.map_err(AppError::Join)?;
        // Again, now that the others see this node: what it lacks now it would lack for ever, and nothing was answered yet.
        engine.follow_keys().await.map_err(AppError::Bind)?;
        let mut dialects = Vec::new();
        for opener in dialects::ALL {
            if settings
                .dialects
                .get(opener.name)
                .is_some_and(|one| one.enabled)
            {
                let realm = engine
                    .open_realm(&native::default_realm(opener.name))
                    .await?;
                // It reads no other variables than those that nodes must agree about.
                let environment = settings.environment.only(opener.variables);
                let dialect =
                    (opener.open)(engine, realm, &environment).map_err(AppError::Setting)?;
                dialects.push(dialect);
            }
        }
        Ok(Self {
            engine: engine.clone(),
            dialects,
            stopping: Stopping::default(),
        })
    }

    /// Makes what must be there before the first request; returns credentials that were generated.
    pub async fn seed(&self) -> Result<Vec<FirstCredential>, AppError> {
        let mut credentials = Vec::new();
        for dialect in &self.dialects {
            credentials.extend(dialect.seed().await?);
        }
        Ok(credentials)
    }

    /// The doors of one public listener.
    pub fn doors(
        &self,
        dialects: &[Arc<dyn Dialect>],
        documents: bool,
        metrics: Option<MetricsText>,
    ) -> Doors {
        let house = House {
            engine: self.engine.clone(),
            stopping: self.stopping.clone(),
            dialects: dialects.to_vec(),
            documents,
            metrics,
        };
        web::doors(&self.engine, dialects, native::house(house))
    }

    /// The doors of the control socket: the native routes and the house's pages, everything shown.
    pub fn control_doors(&self, metrics: MetricsText) -> Doors {
        let house = House {
            engine: self.engine.clone(),
            stopping: self.stopping.clone(),
            dialects: self.dialects.clone(),
            documents: true,
            metrics: Some(metrics),
        };
        let control = Control {
            engine: self.engine.clone(),
            dialects: self.dialects.clone().into(),
        };
        let house = native::house(house).merge(native::control(control));
        web::doors(&self.engine, &[], house)
    }
}
