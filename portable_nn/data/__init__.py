"""Reading training and inference data: pictures, tables and arrays."""
