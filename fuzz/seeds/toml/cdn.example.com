# Hosts: a pool may hold host names instead of addresses. The answer is a CNAME to the one that is drawn, for any type.
#
#   dig @127.0.0.1 -p 5300 www.cdn.example.com

[records]
"@".NS = "ns1"
ns1.A  = "192.0.2.53"
www.steer   = "edge"                       # such a name carries nothing else, and is not the zone's own
trial.steer = "trial"

[pools.edge]
backends = [{ host = "edge.cdn.example." }]

# Nine of ten clients stay on our own addresses; one in ten tries the other side, and keeps doing so.
[policies.trial]
choose  = "weighted"
members = { own = 90, edge = 10 }
sticky  = true

[pools.own]
backends = ["192.0.2.1"]
