#![cfg_attr(fuzzing, no_main)]

tidegate_fuzz::target!(tidegate_fuzz::websocket::run);
