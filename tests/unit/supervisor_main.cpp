// Of the supervisor's unit tests: what they have in common is the main function that comes with
// doctest (tests/CMakeLists.txt).
