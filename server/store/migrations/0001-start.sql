-- The whole first schema, for both databases. Times are milliseconds since 1970 UTC; JSON, ids, MACs and digests are text.

create table subject (
    subject text primary key,
    kind text not null,
    label text not null,
    state text not null,
    version bigint not null,
    epoch bigint not null,
    entered bigint not null,
    deadline bigint
);
create index subject_by_kind on subject (kind, subject);
create index subject_by_deadline on subject (deadline) where deadline is not null;

create table log (
    seq bigint primary key,
    subject text not null,
    cause text not null,
    kind text not null,
    actor text not null,
    epoch bigint not null,
    body text not null,
    at bigint not null,
    hash text not null,
    unique (subject, cause)
);
create index log_by_subject on log (subject, seq);
create table log_head (
    one bigint primary key check (one = 1),
    seq bigint not null,
    hash text not null,
    at bigint not null
);
insert into log_head (one, seq, hash, at)
values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', 0);

create table act (
    subject text not null,
    epoch bigint not null,
    slot text not null,
    body text not null,
    again text not null,
    target text not null,
    owner text not null,
    weight text not null,
    due bigint not null,
    state text not null check (state in ('due', 'claimed', 'sent', 'done', 'failed', 'unknown')),
    phase text not null,
    courier text,
    until bigint,
    attempts bigint not null,
    evidence text,
    created bigint not null,
    finished bigint,
    primary key (subject, epoch, slot)
);
create index act_by_due on act (due) where state = 'due';
create index act_in_flight on act (until) where state in ('claimed', 'sent');
create index act_by_finished on act (finished) where finished is not null;

create table machine (
    id text primary key,
    name text not null unique,
    serial text,
    uuid text,
    ours bigint not null,
    site text,
    rack text,
    u bigint,
    model text,
    bmc text,
    inventory text,
    inventory_at bigint,
    agent text,
    created bigint not null,
    data text not null
);
create index machine_by_serial on machine (serial);
create index machine_by_uuid on machine (uuid);
create index machine_by_place on machine (site, rack, u);
create table machine_mac (
    mac text primary key,
    machine text not null references machine (id) on delete cascade
);
create index machine_mac_by_machine on machine_mac (machine);

create table install_order (
    id text primary key,
    machine text not null,
    image text not null,
    body text not null,
    permit text not null check (permit in ('open', 'started', 'closed')),
    started_disk text,
    started_epoch bigint,
    started_at bigint,
    outcome text,
    created bigint not null,
    closed_at bigint,
    author text not null
);
create unique index install_order_open on install_order (machine) where permit <> 'closed';
create index install_order_by_machine on install_order (machine, created);

create table api_token (
    id text primary key,
    name text not null,
    role text not null,
    sha256 text not null unique,
    created bigint not null,
    expires bigint,
    revoked bigint
);

create table boot_token (
    sha256 text primary key,
    machine text,
    mac text not null,
    nonce text not null,
    epoch bigint,
    order_id text,
    mode text not null,
    created bigint not null,
    expires bigint not null,
    revoked bigint,
    agent_key text,
    bound_at bigint
);
create index boot_token_by_machine on boot_token (machine);

create table ticket (
    id text primary key,
    subject text not null,
    cause text not null,
    title text not null,
    body text not null,
    opened bigint not null,
    closed bigint,
    proof text
);
create unique index ticket_open on ticket (subject, cause) where closed is null;
create index ticket_by_opened on ticket (opened, id);

create table plan (
    digest text primary key,
    action text not null,
    body text not null,
    author text not null,
    created bigint not null,
    approvals text not null,
    executed_at bigint
);

create table brake (
    one bigint primary key check (one = 1),
    frozen bigint not null,
    author text not null,
    why text not null,
    at bigint not null
);
insert into brake (one, frozen, author, why, at) values (1, 0, '', '', 0);
create table setting (
    name text primary key,
    value text not null
);

-- A ring of sightings for each MAC: n counts up, old numbers are deleted by range.
create table sighting_count (
    mac text primary key,
    n bigint not null,
    newest bigint not null
);
create index sighting_count_by_newest on sighting_count (newest);
create table sighting (
    mac text not null,
    n bigint not null,
    at bigint not null,
    network text not null,
    what text not null,
    answer text not null,
    body text not null,
    primary key (mac, n)
);
