# The event ring that control clients read. It knows no pools.
add_library(mtd_event_ring STATIC event_ring.cpp)
target_link_libraries(mtd_event_ring PUBLIC mtd_control)
