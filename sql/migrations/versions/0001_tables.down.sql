drop schema analysis cascade;
drop schema cxr cascade;
