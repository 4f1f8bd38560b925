-- What was seen of each port that boots, cut into boots. A port's row says which boot it is in; an entry's slot is a place
-- in a ring, so that a boot never takes more rows than its rings have.
drop table sighting;
drop table sighting_count;

create table boot_port (
    mac text primary key,
    n bigint not null,
    newest bigint not null,
    course text not null,
    seen bigint not null,
    logged bigint not null
);
create index boot_port_by_newest on boot_port (newest);
create table boot_entry (
    mac text not null,
    n bigint not null,
    ring bigint not null,
    slot bigint not null,
    at bigint not null,
    body text not null,
    primary key (mac, n, ring, slot)
);
