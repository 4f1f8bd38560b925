-- Addresses that are kept for a network card of a machine: one of each address, one of each MAC.
create table reservation (
    address bigint primary key,
    mac text not null unique,
    machine text not null
);
create index reservation_by_machine on reservation (machine);
