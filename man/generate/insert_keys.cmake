# Run by the build: TEMPLATE with @KEYS@ replaced by what GENERATOR prints (of SUBJECT), to OUTPUT.
cmake_minimum_required(VERSION 3.25)  # policies: @NAME@ in a string is no variable here
execute_process(COMMAND ${GENERATOR} ${SUBJECT} OUTPUT_VARIABLE KEYS OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
file(READ ${TEMPLATE} PAGE)
string(REPLACE "@PROJECT_VERSION@" "${PROJECT_VERSION}" PAGE "${PAGE}")
string(REPLACE "@KEYS@" "${KEYS}" PAGE "${PAGE}")
file(WRITE ${OUTPUT} "${PAGE}")
