-- What BMCs say while they are watched. A BMC has one row with what was read last and where its logs were read to; the
-- numbers of its sensors are a row a visit, an hour and a day, in the order of a list of names that is kept once; what it
-- logged is a ring.
create table bmc_seen (
    machine text primary key,
    at bigint not null,
    body text not null
);
create table bmc_sensors (
    machine text not null,
    number bigint not null,
    body text not null,
    primary key (machine, number)
);
create table bmc_series (
    machine text not null,
    grain bigint not null,
    at bigint not null,
    sensors bigint not null,
    body text not null,
    primary key (machine, grain, at, sensors)
);
create index bmc_series_by_age on bmc_series (grain, at);
create table bmc_log (
    machine text not null,
    n bigint not null,
    at bigint not null,
    body text not null,
    primary key (machine, n)
);
