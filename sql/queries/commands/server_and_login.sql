select current_setting('server_version_num')::integer as server_version, current_user as login
