"""The tests that prove a row where the one that does least besides would prove less.

Each must call what it proves, which is checked when it is recorded.
"""

import re

# Good only where there is nothing better: they show what is refused or dropped.
WEAK = re.compile(r"wrong|refus|cannot|checked|cancelled|vanishes|no_pipes|nobody"
                  r"|closed_loop|interrupt|raises|forgotten|odd|that_is_no")

PROOFS = {
    "TCP.get_extra_info": "test_kit_streams.py::test_stream[tcp-extra_info]",
    "TCP.get_write_buffer_limits":
        "test_kit_streams.py::test_stream[tcp-water_marks_follow_what_is_set]",
    "write pipe.abort":
        "test_kit_streams.py::test_stream[pipe-abort_drops_what_was_written]",
    "loop.add_reader":
        "test_watch.py::test_a_reader_is_told_again_while_data_is_left",
    "loop.add_writer": "test_watch.py::test_a_writer_is_called_every_iteration",
    "loop.remove_reader": "test_watch.py::test_removal_inside_the_callback",
    "loop.remove_writer": "test_watch.py::test_both_directions_of_one_socket",
    "loop.create_connection(ssl=)":
        "test_tls_ends.py::test_close_ends_when_the_peer_has_answered[client]",
    "loop.create_connection(interleave=)":
        "test_options.py::test_interleave_mixes_the_families",
    "loop.create_connection(happy_eyeballs_delay=)":
        "test_options.py::test_a_slow_address_is_overtaken",
    "loop.create_connection(ssl_shutdown_timeout=)":
        "test_tls_ends.py::test_a_silent_peer_is_waited_for_so_long[client]",
    "loop.create_connection(server_hostname=)":
        "test_options.py::test_the_name_of_the_server_is_checked[tcp]",
    "loop.create_unix_connection(server_hostname=)":
        "test_options.py::test_the_name_of_the_server_is_checked[unix]",
    "loop.create_unix_connection(ssl=)":
        "test_options.py::test_the_name_of_the_server_is_checked[unix]",
    "loop.create_server(ssl=)":
        "test_tls_ends.py::test_the_shutdown_timeout_of_a_server[tcp]",
    "loop.create_server(ssl_shutdown_timeout=)":
        "test_tls_ends.py::test_the_shutdown_timeout_of_a_server[tcp]",
    "loop.create_server(ssl_handshake_timeout=)":
        "test_tls_ends.py::test_a_client_that_never_shakes_hands",
    "loop.create_server(reuse_address=)":
        "test_options.py::test_the_address_of_a_dead_connection_is_used_again",
    "loop.create_server(sock=)": "test_server.py::test_a_given_socket_serves",
    "loop.create_unix_server(sock=)":
        "test_options.py::test_an_inherited_unix_listener_serves",
    "loop.create_unix_server(ssl=)":
        "test_tls_ends.py::test_the_shutdown_timeout_of_a_server[unix]",
    "loop.start_tls": "test_tls_ends.py::test_start_tls_in_both_roles[False]",
    "loop.start_tls(server_side=)":
        "test_tls_ends.py::test_start_tls_in_both_roles[False]",
    "loop.start_tls(server_hostname=)":
        "test_tls_ends.py::test_start_tls_in_both_roles[False]",
    "loop.start_tls(ssl_handshake_timeout=)":
        "test_tls_ends.py::test_start_tls_with_nobody_answering",
    "loop.sock_accept": "test_sock.py::test_connecting_and_accepting",
    "loop.sock_connect": "test_sock.py::test_connecting_and_accepting",
    "loop.sock_recvfrom": "test_sock.py::test_datagrams",
    "loop.sock_recvfrom_into": "test_sock.py::test_datagrams",
    "loop.connect_read_pipe": "test_pipes.py::test_reading_to_the_end",
    "loop.connect_write_pipe": "test_pipes.py::test_writing_and_closing",
    "loop.remove_signal_handler": "test_signals.py::test_a_handler_runs_in_the_loop",
    "loop.run_in_executor": "test_lives.py::test_an_executor_of_ones_own",
    "loop.set_default_executor": "test_lives.py::test_an_executor_of_ones_own",
    "loop.shutdown_asyncgens":
        "test_tasks.py::test_async_generators_are_shut_down",
    "loop.shutdown_default_executor": "test_lives.py::test_an_executor_of_ones_own",
    "loop.shutdown_default_executor(timeout=)":
        "test_lives.py::test_an_executor_that_does_not_end_in_time",
    "loop.subprocess_exec(cwd=)":
        "test_options.py::test_an_option_reaches_the_child[cwd]",
    "loop.subprocess_exec(pass_fds=)":
        "test_options.py::test_descriptors_are_passed_and_pipes_may_be_anything",
    "loop.subprocess_exec(stderr=)":
        "test_options.py::test_descriptors_are_passed_and_pipes_may_be_anything",
    "loop.subprocess_exec": "test_subprocess.py::test_talking_to_a_process",
    "loop.subprocess_shell": "test_subprocess.py::test_a_shell",
    "subprocess.kill": "test_options.py::test_signals_of_a_process_transport",
    "subprocess.terminate": "test_options.py::test_signals_of_a_process_transport",
    "datagram.close": "test_udp.py::test_an_echo",
    "datagram.sendto": "test_udp.py::test_an_echo",
}
