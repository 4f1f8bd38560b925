-- Leases over IPv6: addresses as text, for no number of a database holds one. No further unique index, as for IPv4.
create table lease6 (
    network text not null,
    address text not null,
    mac bigint not null,
    until bigint not null,
    state text not null,
    seen bigint not null,
    client text not null,
    primary key (network, address)
);
