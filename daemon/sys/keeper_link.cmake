add_library(mtd_keeper_link STATIC keeper_link.cpp spawn_spec.cpp)
    target_link_libraries(mtd_keeper_link PUBLIC mtd_options mtd_common)
