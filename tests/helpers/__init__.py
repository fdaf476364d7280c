"""What several folders of tests share: small pictures, frames of a table, waiting."""
