-- Where a machine's BMC sends its events to, by a subscription of ours. The token names the machine to whoever takes them.
create table bmc_subscription (
    machine text primary key,
    address text not null,
    token text not null unique,
    destination text,
    at bigint not null,
    why text
);
