//! The permissions that a token may name.
//!
//! The one thing a newcomer would get wrong: this is the product's list, in its order, not the list of what means something
//! here: `caller.rs` knows the few that open a door of this server.

/// All of them.
pub(super) const ALL: [&str; 69] = [
    "api.organizations.read",
    "api.organizations.write",
    "api.organizations.delete",
    "api.engagements.read",
    "api.engagements.write",
    "api.engagements.delete",
    "api.analyses.read",
    "api.analyses.write",
    "api.analyses.delete",
    "api.analyses.run",
    "api.analysis-sources.read",
    "api.analysis-sources.write",
    "api.analysis-sources.delete",
    "api.file-manager.read",
    "api.file-manager.write",
    "api.file-manager.delete",
    "api.reporting-period-config.read",
    "api.reporting-period-config.write",
    "api.reporting-period-config.delete",
    "api.libraries.read",
    "api.libraries.write",
    "api.libraries.delete",
    "api.account-groupings.read",
    "api.account-groupings.write",
    "api.account-groupings.delete",
    "api.engagement-account-groupings.read",
    "api.engagement-account-groupings.write",
    "api.engagement-account-groupings.delete",
    "api.users.read",
    "api.users.write",
    "api.users.delete",
    "api.data-tables.read",
    "api.api-tokens.read",
    "api.api-tokens.write",
    "api.api-tokens.delete",
    "api.tasks.read",
    "api.tasks.write",
    "api.tasks.delete",
    "api.admin-reports.run",
    "api.analysis-types.read",
    "api.analysis-source-types.read",
    "api.analysis-type-configuration.read",
    "api.analysis-type-configuration.write",
    "api.analysis-type-configuration.delete",
    "api.risk-ranges.read",
    "api.risk-ranges.write",
    "api.risk-ranges.delete",
    "api.filters.read",
    "api.filters.write",
    "api.filters.delete",
    "api.file-infos.read",
    "api.webhooks.read",
    "api.webhooks.write",
    "api.webhooks.delete",
    "api.connections.read",
    "api.connections.write",
    "api.connections.delete",
    "api.connection-data-sources.read",
    "api.connection-data-sources.write",
    "api.connection-data-sources.delete",
    "scim.user.read",
    "scim.user.write",
    "scim.user.delete",
    "scim.user.schema",
    // Of later releases of the product.
    "api.data-tables.write",
    "api.data-tables.delete",
    "api.data-catalog-entries.read",
    "api.data-catalog-entries.write",
    "api.data-catalog-entries.delete",
];

/// Whether this is a permission.
pub(super) fn is_known(name: &str) -> bool {
    ALL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_there_once() {
        let mut sorted = ALL.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), ALL.len());
        assert!(is_known("scim.user.schema"));
        assert!(!is_known("API.API-TOKENS.READ"));
    }
}
