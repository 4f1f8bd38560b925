-- Passwords of BMCs, sealed; the key that opens them is not in the database. One row is in force and one on its way, at
-- most; what was in force before is kept, for a BMC whose settings are restored wants an old one. A password belongs to the account
-- and the address that it was set at.
create table bmc_password (
    machine text not null,
    number bigint not null,
    address text not null,
    account text not null,
    state text not null check (state in ('made', 'sent', 'current', 'former', 'dropped')),
    sealed text not null,
    made bigint not null,
    settled bigint,
    primary key (machine, number)
);
create unique index bmc_password_current on bmc_password (machine) where state = 'current';
create unique index bmc_password_open on bmc_password (machine) where state in ('made', 'sent');
