# Nesting: a member of a policy is a pool or another policy, to any depth. Two sites share the load while either has machines
# for the client's family of addresses; the third site is for when both are gone.
#
#   dig @127.0.0.1 -p 5300 +short AAAA www.nested.example.com

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www    = { steer = "top", ttl = "20s" }

[policies.top]
choose  = "failover"
members = ["pair", "far"]

[policies.pair]
choose  = "weighted"
members = { near = 70, middle = 30 }

[pools.near]
backends = ["192.0.2.1", "192.0.2.2"]

[pools.middle]
backends = ["198.51.100.1"]

# The only one with IPv6: for AAAA the members without are passed over.
[pools.far]
backends = [{ name = "far1", address = ["203.0.113.1", "2001:db8:3::1"] }]
