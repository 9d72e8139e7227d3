"""What SiteLogPolicies say, one by one and together, and which namespaces and objects they reach."""
