"""SiteLogPolicies: their status, and what the API server itself holds of them."""
