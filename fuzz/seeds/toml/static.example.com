# Static records: what every authoritative server answers. The zone is called after its file: static.example.com.
#
#   dig @127.0.0.1 -p 5300 static.example.com MX

[zone]
ttl = "10m"                                # of every record that does not say otherwise

[soa]
rname = "hostmaster@example.com"
minimum = "1m"                             # how long a resolver may keep "there is no such name"

[records]
"@".NS    = ["ns1", "ns2"]                 # names are relative to the zone, unless they end in a dot
"@".MX    = { data = ["10 mail", "20 mail.example.net."], ttl = "1d" }    # a TTL for one record set
"@".TXT   = "v=spf1 mx -all"               # the text itself, without quotes or escapes
"@".CAA   = '0 issue "ca.example.net"'
ns1.A     = "192.0.2.53"
ns2       = { A = "192.0.2.54", AAAA = "2001:db8::54" }
mail      = { A = "192.0.2.25", ttl = "1h" }                              # a TTL for all of a name
www.A     = ["192.0.2.80", "192.0.2.81"]
alias.CNAME = "www"
"*.dev".A = "192.0.2.90"                   # a wildcard: every name below dev that has no records of its own
"api.eu".A = "192.0.2.91"                  # a name with dots is quoted
"_sip._tcp".SRV = "0 5 5060 mail"
odd.TYPE65280 = '\# 3 010203'              # any type at all (RFC 3597)

# A part of the zone that another server answers for: a delegation, with the address of its name server beside it.
lab.NS    = "ns.lab"
"ns.lab".A = "192.0.2.153"
