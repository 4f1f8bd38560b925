-- BMCs that answered on the network, whoever they belong to. Nothing here makes one ours.
create table bmc_found (
    address text primary key,
    mac text unique,
    first_seen bigint not null,
    seen bigint not null,
    body text not null
);
-- BMCs that a manifest or a person says are ours, each with the password that it came with, sealed. Once it was adopted its
-- password is that of its machine, and none is kept here.
create table bmc_awaited (
    id text primary key,
    state text not null check (state in ('awaited', 'refused', 'adopted')),
    due bigint not null,
    made bigint not null,
    machine text,
    body text not null,
    sealed text not null
);
create index bmc_awaited_due on bmc_awaited (due) where state = 'awaited';
-- The key that a machine's BMC proved; with another one no password is sent there.
create table bmc_pin (
    machine text primary key,
    pin text not null,
    serial text,
    at bigint not null,
    actor text not null
);
-- What BMCs of one kind and firmware were seen to do.
create table bmc_learnt (
    kind text primary key,
    at bigint not null,
    body text not null
);
-- Of which kind a machine's BMC was when it was last tried.
create table bmc_kind (
    machine text primary key,
    kind text not null
);
