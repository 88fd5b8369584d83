//! Several statements sent before the first is waited for.
//!
//! The one thing to know: they are executed in their order, one after the other, and all of them are prepared before the
//! first is sent – otherwise one that had to be prepared first would be overtaken. After an error inside a transaction the
//! others fail too, so the first error is the one that counts.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use deadpool_postgres::ClientWrapper;
use engine::locator::{Key, Place, Space};
use engine::store::StoreError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::rows::{Parameter, key, text};
use super::trouble::{Trouble, of_statement};

/// Rows in one statement. More do not make it faster, and arrays of everything would double the memory of a large batch.
pub(super) const CHUNK_ROWS: usize = 5_000;

/// What a statement that writes must have done.
pub(super) enum Check<'a> {
    /// Anything.
    None,
    /// This many rows, or the rows were not what the batch says.
    Rows(usize, fn() -> StoreError),
    /// This many events, or one of them is there already.
    Events(usize),
    /// It returns the space and key of each of these places, or one of them is taken.
    Places(Vec<&'a Place>),
}

/// The refusal of a check of rows: one of them was not there in the version that the batch replaces.
pub(super) fn stale() -> StoreError {
    StoreError::Stale
}

/// One statement.
pub(super) struct Step<'a> {
    sql: &'static str,
    parameters: Vec<Parameter<'a>>,
    check: Check<'a>,
}

/// Statements in their order.
#[derive(Default)]
pub(super) struct Script<'a> {
    steps: Vec<Step<'a>>,
}

/// What a statement that writes has done instead of what it should.
pub(super) enum Deviation {
    /// An event is there already: an earlier attempt, or another call with the same event, was applied.
    Repeated,
    /// A row is not as the batch says.
    Refused(StoreError),
}

enum Answer {
    Rows(Vec<Row>),
    Count(u64),
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Answer, tokio_postgres::Error>> + Send + 'a>>;

impl<'a> Script<'a> {
    /// A statement that answers with rows.
    pub(super) fn ask(&mut self, sql: &'static str, parameters: Vec<Parameter<'a>>) {
        // The places of a claim are returned too; what is returned is told apart by who sends it.
        self.write(sql, parameters, Check::None);
    }

    /// A statement that writes.
    pub(super) fn write(
        &mut self,
        sql: &'static str,
        parameters: Vec<Parameter<'a>>,
        check: Check<'a>,
    ) {
        self.steps.push(Step {
            sql,
            parameters,
            check,
        });
    }

    /// Sends all, after `first` (which has no parameters), and gives the rows of each.
    pub(super) async fn read(
        self,
        client: &ClientWrapper,
        first: Option<&str>,
    ) -> Result<Vec<Vec<Row>>, Trouble> {
        let answers = self.send(client, first, true).await?;
        let rows = answers.into_iter().map(|answer| match answer {
            Answer::Rows(rows) => rows,
            Answer::Count(_) => Vec::new(),
        });
        Ok(rows.collect())
    }

    /// Sends all, then `last`, and checks what each has done.
    pub(super) async fn apply(
        self,
        client: &ClientWrapper,
        last: &'static str,
    ) -> Result<Result<(), Deviation>, Trouble> {
        let mut script = self;
        script.write(last, Vec::new(), Check::None);
        let answers = script.send(client, None, false).await?;
        for (step, answer) in script.steps.iter().zip(answers) {
            let deviation = match (&step.check, answer) {
                (Check::Rows(wanted, refusal), Answer::Count(count)) => {
                    (count != *wanted as u64).then(|| Deviation::Refused(refusal()))
                }
                (Check::Events(wanted), Answer::Count(count)) => {
                    (count != *wanted as u64).then_some(Deviation::Repeated)
                }
                (Check::Places(places), Answer::Rows(rows)) => not_claimed(places, &rows)?,
                _ => None,
            };
            if let Some(deviation) = deviation {
                return Ok(Err(deviation));
            }
        }
        Ok(Ok(()))
    }

    async fn send(
        &self,
        client: &ClientWrapper,
        first: Option<&str>,
        rows: bool,
    ) -> Result<Vec<Answer>, Trouble> {
        let mut prepared = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let statement = client.prepare_cached(step.sql).await;
            prepared.push(statement.map_err(of_statement)?);
        }
        let begun = async {
            match first {
                Some(sql) => client.batch_execute(sql).await,
                None => Ok(()),
            }
        };
        let steps = self.steps.iter().zip(&prepared).map(|(step, statement)| {
            let rows = rows || matches!(step.check, Check::Places(_));
            let parameters: Vec<&(dyn ToSql + Sync)> = step
                .parameters
                .iter()
                .map(|parameter| &**parameter as &(dyn ToSql + Sync))
                .collect();
            let pending: Pending<'_> = Box::pin(async move {
                if rows {
                    client.query(statement, &parameters).await.map(Answer::Rows)
                } else {
                    let count = client.execute(statement, &parameters).await;
                    count.map(Answer::Count)
                }
            });
            pending
        });
        let (begun, answers) = tokio::join!(biased; begun, in_order(steps.collect()));
        begun.map_err(of_statement)?;
        answers
            .into_iter()
            .map(|answer| answer.map_err(of_statement))
            .collect()
    }
}

/// Waits for all. Each statement is sent when it is polled for the first time, so they must be polled in their order,
/// which libraries promise for no number of futures.
async fn in_order(mut pending: Vec<Pending<'_>>) -> Vec<Result<Answer, tokio_postgres::Error>> {
    let mut answers: Vec<Option<_>> = pending.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, answer) in pending.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// The first place that is not among the rows of a claim.
fn not_claimed(places: &[&Place], rows: &[Row]) -> Result<Option<Deviation>, Trouble> {
    if rows.len() == places.len() {
        return Ok(None);
    }
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let space: String = row.try_get(0).map_err(of_statement)?;
        let key: Vec<u8> = row.try_get(1).map_err(of_statement)?;
        claimed.push(Place::new(Space(space.into()), Key(key)));
    }
    claimed.sort_unstable();
    let missing = places.iter().find(|place| {
        let stored = Place::new(
            Space(text(&place.space.0).into_owned().into()),
            Key(key(&place.key.0).into_owned()),
        );
        claimed.binary_search(&stored).is_err()
    });
    Ok(missing.map(|place| {
        Deviation::Refused(StoreError::Taken {
            space: place.space.to_string(),
        })
    }))
}
