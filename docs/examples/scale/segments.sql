-- What the jobs read: a view each. Its name is part of the stream's name, by which the ledger
-- tells the jobs apart.
CREATE SCHEMA segments;

CREATE VIEW segments.oslo AS
SELECT email, first_name, last_name FROM profiles WHERE brand = 'oslo';

-- A brand in two halves, by a hash of the address as ActiveCampaign compares it: however often
-- and in whatever spelling a person is in the table, they are in one half, and always in the same.
CREATE VIEW segments.riga AS
SELECT
    email, first_name, last_name,
    get_byte(sha256(convert_to(lower(btrim(email)), 'UTF8')), 0) % 2 AS half
FROM profiles WHERE brand = 'riga';

CREATE VIEW segments.riga_1_of_2 AS
SELECT email, first_name, last_name FROM segments.riga WHERE half = 0;

CREATE VIEW segments.riga_2_of_2 AS
SELECT email, first_name, last_name FROM segments.riga WHERE half = 1;
