-- Leases. No further unique index: a second one halves the rate at which leases are committed.
create table lease (
    network text not null,
    address bigint not null,
    mac bigint not null,
    until bigint not null,
    state text not null,
    seen bigint not null,
    client text not null,
    primary key (network, address)
);
