DROP TABLE view_refreshes;
