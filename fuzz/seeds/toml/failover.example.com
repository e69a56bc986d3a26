# Failover: members are tried in the order written, and the first that is usable serves. Without a probe a backend counts as
# healthy, so here the first pool serves always; who would serve in its place is what `windrose explain` tells.
#
#   dig @127.0.0.1 -p 5300 +short www.failover.example.com

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www.steer = "tiers"

[policies.tiers]
choose   = "failover"
members  = ["main", "spare"]
fallback = "sorry"                         # when no member is usable: this pool, whatever its health

[pools.main]
answers     = "all"                        # every healthy backend in one answer
min_healthy = 2                            # with one of three left, the next member serves
backends    = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

[pools.spare]
backends = ["198.51.100.1"]

[pools.sorry]
backends = ["203.0.113.1"]
