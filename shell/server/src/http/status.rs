//! What this node knows of itself and the cluster.

use axum::{Json, extract::State};
use node::{GroupStatus, NodeStatus};
use serde::Serialize;
use types::{Hlc, NodeId, Role, Timing};

use super::{AppState, HttpProblem};
use crate::config::{KEYSPACE_DEFAULT, Member};

#[derive(Serialize)]
pub(super) struct Status {
    node: NodeId,
    pid: u32,
    version: &'static str,
    cluster: String,
    uptime_ms: u64,
    http: String,
    ready: bool,
    healthy: bool,
    role: Option<Role>,
    term: Option<u64>,
    leader: Option<NodeId>,
    commit_index: Option<u64>,
    applied_index: Option<u64>,
    pending_requests: u64,
    disk_has_space: bool,
    hlc: Hlc,
    hlc_refused: u64,
    timing: Timing,
    members: Vec<Listed>,
    groups: Vec<GroupStatus>,
}

#[derive(Serialize)]
struct Listed {
    node: NodeId,
    peer: Option<String>,
    http: Option<String>,
}

/// `GET /v1/status`.
pub(super) async fn status(State(state): State<AppState>) -> Result<Json<Status>, HttpProblem> {
    let status = state.node()?.status().await?;
    let ready = not_ready(&status).is_empty();
    let group = status.groups.iter().find(|group| group.keyspace == KEYSPACE_DEFAULT);
    let own = |id: NodeId| state.members().iter().find(move |member| member.node == id.0);
    Ok(Json(Status {
        node: state.node_id(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        cluster: state.cluster().to_string(),
        uptime_ms: state.uptime_ms(),
        http: state.http().to_string(),
        ready,
        healthy: ready && status.disk_has_space,
        role: group.map(|group| group.role),
        term: group.map(|group| group.term),
        leader: group.and_then(|group| group.leader),
        commit_index: group.map(|group| group.commit_index),
        applied_index: group.map(|group| group.applied_index),
        pending_requests: status.pending_requests,
        disk_has_space: status.disk_has_space,
        hlc: status.hlc,
        hlc_refused: status.hlc_refused,
        timing: status.timing,
        members: status.members.iter().map(|id| listed(*id, own(*id), &state)).collect(),
        groups: status.groups,
    }))
}

fn listed(node: NodeId, member: Option<&Member>, state: &AppState) -> Listed {
    let here = (node == state.node_id()).then(|| state.http().to_string());
    Listed {
        node,
        peer: member.and_then(|member| member.peer.clone()),
        http: member.and_then(|member| member.http.clone()).or(here),
    }
}

/// Why the node cannot serve every keyspace now; empty when it can.
pub(super) fn not_ready(status: &NodeStatus) -> Vec<String> {
    let leaderless = status.groups.iter().filter(|group| group.leader.is_none());
    let mut reasons: Vec<String> = leaderless
        .map(|group| format!("no leader is known for {} (group {})", group.keyspace, group.group))
        .collect();
    if status.groups.len() < 2 && reasons.is_empty() {
        reasons.push("no keyspace has started yet".to_owned());
    }
    reasons
}
