//! Topics: publishing, subscriptions and their messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use x0x_core::gossip::{Topic, TopicInfo};
use x0x_core::node::{CommandError, Counters, GetCounters, ListTopics, Publish};

use super::error::ErrorBody;
use super::{ApiError, App, sse};
use crate::files::{hex, random};
use crate::topics::QUEUE_LIMITS;
use x0x_core::gossip;

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PublishBody {
    /// The topic, not empty.
    topic: String,
    /// The message, base64.
    payload: String,
}

/// It is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    ok: bool,
}

/// Publishes a message to everybody who subscribed to its topic. Answered when the node can take the
/// next one.
#[utoipa::path(
    post, path = "/publish", tag = "gossip", request_body = PublishBody,
    responses(
        (status = 200, body = Done),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 413, body = String), (status = 415, body = String), (status = 422, body = String),
        (status = 429, body = ErrorBody, description = "The node is in too many topics"),
        (status = 500, body = ErrorBody, description = "The node does not publish it"),
        (status = 503, body = ErrorBody, description = "Too many messages wait already"),
    )
)]
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Json(body): Json<PublishBody>,
) -> Result<Json<Done>, ApiError> {
    let topic = parse_topic(&body.topic)?;
    let payload = BASE64.decode(&body.payload).map_err(|error| {
        ApiError::bad_request(format!("invalid base64 in payload field: {error}"))
    })?;
    let answer = app.node.request(Publish { topic, payload: payload.into() }).await;
    app.hub.topics.published(answer.is_ok());
    answer.map_err(|error| refusal(&error))?;
    Ok(Json(Done { ok: true }))
}

/// A topic to subscribe to.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SubscribeBody {
    /// The topic, not empty.
    topic: String,
}

/// The answer to `POST /subscribe`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubscriptionMade {
    ok: bool,
    /// Names the subscription in its events, and to end it.
    subscription_id: String,
}

/// Subscribes to a topic. Its messages come at `/events`. Two subscriptions to one topic are
/// independent, and each yields an event of its own.
#[utoipa::path(
    post, path = "/subscribe", tag = "gossip", request_body = SubscribeBody,
    responses(
        (status = 200, body = SubscriptionMade),
        (status = 400, content((ErrorBody = "application/json"), (String = "text/plain"))),
        (status = 413, body = String), (status = 415, body = String), (status = 422, body = String),
        (status = 429, body = ErrorBody, description = "Too many subscriptions or topics"),
        (status = 500, body = ErrorBody, description = "The node does not subscribe"),
    )
)]
pub(super) async fn subscribe(
    State(app): State<Arc<App>>,
    Json(body): Json<SubscribeBody>,
) -> Result<Json<SubscriptionMade>, ApiError> {
    let topic = parse_topic(&body.topic)?;
    let bytes = random::<8>().map_err(|error| internal(error.to_string()))?;
    let subscription_id = hex(&bytes);
    let topics = &app.hub.topics;
    let too_many = |error: crate::topics::WantError| {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
    };
    topics.add_subscription(&subscription_id, &topic).map_err(too_many)?;
    if let Err(error) = app.keeper.settle(&topic).await {
        topics.remove_subscription(&subscription_id);
        return Err(refusal(&error));
    }
    Ok(Json(SubscriptionMade { ok: true, subscription_id }))
}

/// Ends a subscription. Nothing is delivered for it from here on.
#[utoipa::path(
    delete, path = "/subscribe/{id}", tag = "gossip",
    params(("id" = String, Path, description = "The subscription")),
    responses(
        (status = 200, body = Done),
        (status = 400, body = String, description = "The path is not UTF-8"),
        (status = 404, body = ErrorBody, description = "There is no such subscription"),
        (status = 500, body = ErrorBody, description = "The node does not answer"),
    )
)]
pub(super) async fn unsubscribe(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "subscription not found");
    let id = id.to_ascii_lowercase();
    let topic = app.hub.topics.remove_subscription(&id).ok_or_else(missing)?;
    app.keeper.settle(&topic).await.map_err(|error| refusal(&error))?;
    Ok(Json(Done { ok: true }))
}

/// The messages of all subscriptions, as they come: `message` events, and `lagged` where some were
/// missed.
#[utoipa::path(
    get, path = "/events", tag = "gossip",
    responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub(super) async fn events(State(app): State<Arc<App>>) -> impl IntoResponse {
    sse::frames(app.hub.topics.listen())
}

/// How messages of topics fared since the start.
#[derive(Debug, Serialize, ToSchema)]
struct GossipStats {
    /// Messages that somebody here asked to publish.
    publish_total: u64,
    /// Those that the node refused.
    publish_failed: u64,
    /// Messages that came, own ones too, and what was refused of others.
    incoming_total: u64,
    /// Messages that the node handed to the daemon.
    incoming_decoded: u64,
    /// Batches and frames of others that the node could not read: forged, without a key, or of a
    /// stranger.
    incoming_decode_failed: u64,
    /// Messages that went to everybody who wants their topic.
    delivered_to_subscriber: u64,
    /// Messages that a slow listener missed and was told of, for each listener.
    slow_subscriber_dropped: u64,
    /// Messages that came when nobody wanted their topic any more.
    subscriber_channel_closed: u64,
    /// Always 0: the node decodes before it tells.
    in_flight_decode: i64,
    /// What was decoded and neither delivered nor unwanted: the events of the node that the daemon
    /// was too slow for.
    decode_to_delivery_drops: i64,
    /// Messages that did not reach the node and will not; subscribers were told. (Not of the
    /// contract.)
    missed: u64,
    /// Proofs that an author contradicted itself. (Not of the contract.)
    equivocations: u64,
}

/// A topic that the node is in.
#[derive(Debug, Serialize, ToSchema)]
struct TopicRow {
    topic: String,
    /// Whether its messages are delivered here. If not, the node is in it to publish.
    is_subscribed: bool,
    neighbours: usize,
    eager: usize,
    passive: usize,
    history_items: usize,
    history_bytes: usize,
}

impl From<TopicInfo> for TopicRow {
    fn from(info: TopicInfo) -> Self {
        let TopicInfo { topic, is_subscribed, neighbours, eager, passive, .. } = info;
        Self {
            topic: topic.as_str().to_owned(),
            is_subscribed,
            neighbours,
            eager,
            passive,
            history_items: info.history_items,
            history_bytes: info.history_bytes,
        }
    }
}

/// The answer to `GET /diagnostics/gossip`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GossipDiagnostics {
    ok: bool,
    stats: GossipStats,
    /// What the node itself counted of topics.
    node: BTreeMap<&'static str, u64>,
    topics: Vec<TopicRow>,
    subscription_count: usize,
    /// Clients at `/events`.
    listener_count: usize,
    /// How many events wait for one of them.
    listener_capacity: usize,
}

/// How messages of topics fare.
#[utoipa::path(
    get, path = "/diagnostics/gossip", tag = "gossip",
    responses((status = 200, body = GossipDiagnostics), (status = 503, body = ErrorBody))
)]
pub(super) async fn diagnostics(
    State(app): State<Arc<App>>,
) -> Result<Json<GossipDiagnostics>, ApiError> {
    let counters = app.node.request(GetCounters).await.map_err(|_| ApiError::no_node())?;
    let topics = app.node.request(ListTopics).await.map_err(|_| ApiError::no_node())?;
    let node = gossip_counters(&counters);
    let refused: u64 = REFUSED.iter().map(|&counter| counters.get(counter)).sum();
    let stats = app.hub.topics.stats();
    let (subscription_count, listener_count) = app.hub.topics.counts();
    let decoded = stats.received + stats.lost;
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(Json(GossipDiagnostics {
        ok: true,
        stats: GossipStats {
            publish_total: stats.publishes,
            publish_failed: stats.publishes_failed,
            incoming_total: decoded + refused,
            incoming_decoded: decoded,
            incoming_decode_failed: refused,
            delivered_to_subscriber: stats.delivered,
            slow_subscriber_dropped: stats.evicted,
            subscriber_channel_closed: stats.unwanted,
            in_flight_decode: 0,
            decode_to_delivery_drops: signed(decoded)
                - signed(stats.delivered)
                - signed(stats.unwanted),
            missed: stats.missed,
            equivocations: stats.equivocations,
        },
        node,
        topics: topics.into_iter().map(TopicRow::from).collect(),
        subscription_count,
        listener_count,
        listener_capacity: QUEUE_LIMITS.items,
    }))
}

/// What the node refused to read of others, each time for another reason.
const REFUSED: [gossip::Counter; 3] = [
    gossip::Counter::BatchesForged,
    gossip::Counter::BatchesWithoutKey,
    gossip::Counter::FramesUnknown,
];

/// The counters of the node whose names say that they are of topics.
fn gossip_counters(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let is_gossip = |label: &str| label.starts_with("gossip_") || label.starts_with("overlay_");
    counters.non_zero().filter(|(label, _)| is_gossip(label)).collect()
}

/// Reads the name of a topic.
pub(super) fn parse_topic(name: &str) -> Result<Topic, ApiError> {
    Topic::new(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn internal(text: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn refusal(error: &CommandError) -> ApiError {
    let status = if matches!(error, CommandError::Gossip(gossip::RequestError::QueueFull)) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if matches!(error, CommandError::Gossip(gossip::RequestError::TooManyTopics)) {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        // A payload that is too large is a body that is too large, which comes here no more.
        StatusCode::INTERNAL_SERVER_ERROR
    };
    ApiError::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status() {
        for (error, status) in [
            (CommandError::Gossip(gossip::RequestError::QueueFull), 503),
            (CommandError::Gossip(gossip::RequestError::TooManyTopics), 429),
            (CommandError::Halted, 500),
            (CommandError::ShutDown, 500),
        ] {
            assert_eq!(refusal(&error).into_response().status().as_u16(), status, "{error}");
        }
    }
}
