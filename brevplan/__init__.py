"""brevplan: declare GPU instances and firewall rules, and make the clouds match."""
