"""Messages and enumerations of the Kortex API that this project speaks: names, numbers and types, in proto3 notation.

Packages are in the order in which they need each other. `Api` stands for the outermost package of the protocol. Angles
are degrees and speeds degrees per second everywhere in these messages; see `kinova_driver.units`.
"""

PACKAGES = {
    "Common": """
enum ArmState {
    ARMSTATE_UNSPECIFIED = 0; ARMSTATE_BASE_INITIALIZATION = 1; ARMSTATE_IDLE = 2; ARMSTATE_INITIALIZATION = 3;
    ARMSTATE_IN_FAULT = 4; ARMSTATE_MAINTENANCE = 5; ARMSTATE_SERVOING_LOW_LEVEL = 6; ARMSTATE_SERVOING_READY = 7;
    ARMSTATE_SERVOING_PLAYING_SEQUENCE = 8; ARMSTATE_SERVOING_MANUALLY_CONTROLLED = 9;
    ARMSTATE_BRAKE_RELEASING = 10; ARMSTATE_RESERVED = 255;
}
enum CartesianReferenceFrame {
    CARTESIAN_REFERENCE_FRAME_UNSPECIFIED = 0; CARTESIAN_REFERENCE_FRAME_MIXED = 1;
    CARTESIAN_REFERENCE_FRAME_TOOL = 2; CARTESIAN_REFERENCE_FRAME_BASE = 3;
}
enum DeviceTypes {
    UNSPECIFIED_DEVICE_TYPE = 0; BASE = 1; VISION = 2; BIG_ACTUATOR = 3; SMALL_ACTUATOR = 4; INTERCONNECT = 5;
    GRIPPER = 6; MEDIUM_ACTUATOR = 7; XBIG_ACTUATOR = 8;
}
enum NotificationType {
    NOTIFICATION_TYPE_UNSPECIFIED = 0; NOTIFICATION_TYPE_THRESHOLD = 1; NOTIFICATION_TYPE_FIX_RATE = 2;
    NOTIFICATION_TYPE_EVENT = 3;
}
enum CountryCodeIdentifier {
    UNSPECIFIED_COUNTRY_CODE = 0;
}
enum SafetyStatusValue {
    SAFETY_STATUS_UNSPECIFIED = 0; SAFETY_STATUS_WARNING = 1; SAFETY_STATUS_ERROR = 2; SAFETY_STATUS_NORMAL = 3;
}
message Connection {
    UserProfileHandle user_handle = 1; string connection_information = 2; uint32 connection_identifier = 3;
}
message CountryCode {
    CountryCodeIdentifier identifier = 1;
}
message DeviceHandle {
    DeviceTypes device_type = 1; uint32 device_identifier = 2; uint32 order = 3;
}
message Empty {}
message NotificationHandle {
    uint32 identifier = 1;
}
message NotificationOptions {
    NotificationType type = 1; uint32 rate_m_sec = 2; float threshold_value = 3;
}
message Timestamp {
    uint32 sec = 1; uint32 usec = 2;
}
message UserProfileHandle {
    uint32 identifier = 1; fixed32 permission = 2;
}
message SafetyHandle {
    uint32 identifier = 1;
}
message SafetyNotification {
    SafetyHandle safety_handle = 1; SafetyStatusValue value = 2; Timestamp timestamp = 3;
    UserProfileHandle user_handle = 4; Connection connection = 5;
}
""",
    "Api": """
enum ErrorCodes {
    ERROR_NONE = 0; ERROR_PROTOCOL_SERVER = 1; ERROR_PROTOCOL_CLIENT = 2; ERROR_DEVICE = 3; ERROR_INTERNAL = 4;
}
enum SubErrorCodes {
    SUB_ERROR_NONE = 0; METHOD_FAILED = 1; UNIMPLEMENTED = 2; INVALID_PARAM = 3; UNSUPPORTED_SERVICE = 4;
    UNSUPPORTED_METHOD = 5; TOO_LARGE_ENCODED_FRAME_BUFFER = 6; FRAME_ENCODING_ERR = 7; FRAME_DECODING_ERR = 8;
    INCOMPATIBLE_HEADER_VERSION = 9; UNSUPPORTED_FRAME_TYPE = 10; UNREGISTERED_NOTIFICATION_RECEIVED = 11;
    INVALID_SESSION = 12; PAYLOAD_DECODING_ERR = 13; UNREGISTERED_FRAME_RECEIVED = 14; INVALID_PASSWORD = 15;
    USER_NOT_FOUND = 16; ENTITY_NOT_FOUND = 17; ROBOT_MOVEMENT_IN_PROGRESS = 18; ROBOT_NOT_MOVING = 19;
    NO_MORE_STORAGE_SPACE = 20; ROBOT_NOT_READY = 21; ROBOT_IN_FAULT = 22; ROBOT_IN_MAINTENANCE = 23;
    ROBOT_IN_UPDATE_MODE = 24; ROBOT_IN_EMERGENCY_STOP = 25; SINGLE_LEVEL_SERVOING = 26; LOW_LEVEL_SERVOING = 27;
    MAPPING_GROUP_NON_ROOT = 28; MAPPING_INVALID_GROUP = 29; MAPPING_INVALID_MAP = 30; MAP_GROUP_INVALID_MAP = 31;
    MAP_GROUP_INVALID_PARENT = 32; MAP_GROUP_INVALID_CHILD = 33; MAP_GROUP_INVALID_MOVE = 34; MAP_IN_USE = 35;
    WIFI_CONNECT_ERROR = 36; UNSUPPORTED_NETWORK_TYPE = 37; TOO_LARGE_ENCODED_PAYLOAD_BUFFER = 38;
    UPDATE_PERMISSION_DENIED = 39; DELETE_PERMISSION_DENIED = 40; DATABASE_ERROR = 41; UNSUPPORTED_OPTION = 42;
    UNSUPPORTED_RESOLUTION = 43; UNSUPPORTED_FRAME_RATE = 44; UNSUPPORTED_BIT_RATE = 45; UNSUPPORTED_ACTION = 46;
    UNSUPPORTED_FOCUS_ACTION = 47; VALUE_IS_ABOVE_MAXIMUM = 48; VALUE_IS_BELOW_MINIMUM = 49;
    DEVICE_DISCONNECTED = 50; DEVICE_NOT_READY = 51; INVALID_DEVICE = 52; SAFETY_THRESHOLD_REACHED = 53;
    INVALID_USER_SESSION_ACCESS = 54; CONTROL_MANUAL_STOP = 55; CONTROL_OUTSIDE_WORKSPACE = 56;
    CONTROL_ACTUATOR_COUNT_MISMATCH = 57; CONTROL_INVALID_DURATION = 58; CONTROL_INVALID_SPEED = 59;
    CONTROL_LARGE_SPEED = 60; CONTROL_INVALID_ACCELERATION = 61; CONTROL_INVALID_TIME_STEP = 62;
    CONTROL_LARGE_SIZE = 63; CONTROL_WRONG_MODE = 64; CONTROL_JOINT_POSITION_LIMIT = 65;
    CONTROL_NO_FILE_IN_MEMORY = 66; CONTROL_INDEX_OUT_OF_TRAJECTORY = 67; CONTROL_ALREADY_RUNNING = 68;
    CONTROL_WRONG_STARTING_POINT = 69; CONTROL_CARTESIAN_CANNOT_START = 70; CONTROL_UNDEFINED_CONSTRAINT = 71;
    CONTROL_UNINITIALIZED = 72; CONTROL_NO_ACTION = 73; CONTROL_UNDEFINED = 74; WRONG_SERVOING_MODE = 75;
    CONTROL_WRONG_STARTING_SPEED = 76; USERNAME_LENGTH_EXCEEDED = 100; FIRSTNAME_LENGTH_EXCEEDED = 101;
    LASTNAME_LENGTH_EXCEEDED = 102; PASSWORD_LENGTH_EXCEEDED = 103; USERNAME_ALREADY_EXISTS = 104;
    USERNAME_EMPTY = 105; PASSWORD_NOT_CHANGED = 106; MAXIMUM_USER_PROFILES_USED = 107; ROUTER_UNVAILABLE = 108;
    ADDRESS_NOT_IN_VALID_RANGE = 120; ADDRESS_NOT_CONFIGURABLE = 121; SESSION_NOT_IN_CONTROL = 130;
    METHOD_TIMEOUT = 131; UNSUPPORTED_ROBOT_CONFIGURATION = 132; NVRAM_READ_FAIL = 133; NVRAM_WRITE_FAIL = 134;
    NETWORK_NO_ADDRESS_ASSIGNED = 135; READ_PERMISSION_DENIED = 136; CONTROLLER_INVALID_MAPPING = 137;
    ACTION_IN_USE = 138; SEND_FAILED = 139; CONTROL_WAYPOINT_TRAJECTORY_ABORTED = 140;
    CONTROL_PERMISSION_DENIED = 141;
}
message Error {
    ErrorCodes error_code = 1; uint32 error_sub_code = 2; string error_sub_string = 3;
}
message Frame {
    Header header = 1; bytes payload = 2;
}
message Header {
    fixed32 frame_info = 1; fixed32 message_info = 2; fixed32 service_info = 3; fixed32 payload_info = 4;
}
""",
    "ProductConfiguration": """
enum ArmLaterality {
    ARM_LATERALITY_UNSPECIFIED = 0; ARM_LATERALITY_NOT_APPLICABLE = 1; ARM_LATERALITY_LEFT = 2;
    ARM_LATERALITY_RIGHT = 3;
}
enum BaseType {
    BASE_TYPE_UNSPECIFIED = 0; BASE_TYPE_L53_QUICK_CONNECT = 1; BASE_TYPE_L53_FIXED = 2; BASE_TYPE_L31_FIXED = 3;
    BASE_TYPE_HDK_FIXED = 4;
}
enum BrakeType {
    BRAKE_TYPE_UNSPECIFIED = 0; BRAKE_TYPE_NOT_INSTALLED = 1; BRAKE_TYPE_SPOKE = 2; BRAKE_TYPE_CLUTCH = 3;
}
enum EndEffectorType {
    END_EFFECTOR_TYPE_UNSPECIFIED = 0; END_EFFECTOR_TYPE_NOT_INSTALLED = 1; END_EFFECTOR_TYPE_L31_GRIPPER_2F = 2;
    END_EFFECTOR_TYPE_ROBOTIQ_2F_85 = 3; END_EFFECTOR_TYPE_ROBOTIQ_2F_140 = 4;
}
enum InterfaceModuleType {
    INTERFACE_MODULE_TYPE_UNSPECIFIED = 0; INTERFACE_MODULE_TYPE_NOT_INSTALLED = 1; INTERFACE_MODULE_TYPE_L53 = 2;
    INTERFACE_MODULE_TYPE_L31 = 3;
}
enum ModelId {
    MODEL_ID_UNSPECIFIED = 0; MODEL_ID_L53 = 1; MODEL_ID_L31 = 2; MODEL_ID_HDK = 3;
}
enum VisionModuleType {
    VISION_MODULE_TYPE_UNSPECIFIED = 0; VISION_MODULE_TYPE_NOT_INSTALLED = 1; VISION_MODULE_TYPE_L53_2D3D = 2;
    VISION_MODULE_TYPE_L53_2D = 3; VISION_MODULE_TYPE_EOD = 4;
}
enum WristType {
    WRIST_TYPE_UNSPECIFIED = 0; WRIST_TYPE_NOT_APPLICABLE = 1; WRIST_TYPE_SPHERICAL = 2; WRIST_TYPE_CURVED = 3;
}
message CompleteProductConfiguration {
    string kin = 1; ModelId model = 2; Common.CountryCode country_code = 3; string assembly_plant = 4;
    string model_year = 5; uint32 degree_of_freedom = 6; BaseType base_type = 7;
    EndEffectorType end_effector_type = 8; VisionModuleType vision_module_type = 9;
    InterfaceModuleType interface_module_type = 10; ArmLaterality arm_laterality = 11; WristType wrist_type = 12;
    BrakeType brake_type = 13;
}
""",
    "Session": """
message ConnectionList {
    repeated Common.Connection connection = 1;
}
message CreateSessionInfo {
    string username = 1; uint32 session_inactivity_timeout = 2; string password = 3;
    uint32 connection_inactivity_timeout = 4;
}
""",
    "GripperCyclic": """
message Command {
    MessageId command_id = 1; fixed32 flags = 2; repeated MotorCommand motor_cmd = 3;
}
message CustomData {
    MessageId custom_data_id = 1; CustomDataUnit gripper_custom_data = 2;
    repeated CustomDataUnit motor_custom_data = 3;
}
message CustomDataUnit {
    fixed32 custom_data_0 = 1; fixed32 custom_data_1 = 2; fixed32 custom_data_2 = 3; fixed32 custom_data_3 = 4;
    fixed32 custom_data_4 = 5; fixed32 custom_data_5 = 6; fixed32 custom_data_6 = 7; fixed32 custom_data_7 = 8;
    fixed32 custom_data_8 = 9; fixed32 custom_data_9 = 10; fixed32 custom_data_10 = 11; fixed32 custom_data_11 = 12;
    fixed32 custom_data_12 = 13; fixed32 custom_data_13 = 14; fixed32 custom_data_14 = 15;
    fixed32 custom_data_15 = 16;
}
message Feedback {
    MessageId feedback_id = 1; fixed32 status_flags = 2; fixed32 fault_bank_a = 3; fixed32 fault_bank_b = 4;
    fixed32 warning_bank_a = 5; fixed32 warning_bank_b = 6; repeated MotorFeedback motor = 7;
}
message MessageId {
    fixed32 identifier = 1;
}
message MotorCommand {
    fixed32 motor_id = 1; float position = 3; float velocity = 4; float force = 5;
}
message MotorFeedback {
    fixed32 motor_id = 1; float position = 4; float velocity = 5; float current_motor = 7; float voltage = 8;
    float temperature_motor = 10;
}
""",
    "InterconnectCyclic": """
message Command {
    MessageId command_id = 1; fixed32 flags = 2;
    oneof tool_command {
        GripperCyclic.Command gripper_command = 3;
    }
}
message CustomData {
    MessageId custom_data_id = 1; fixed32 custom_data_0 = 2; fixed32 custom_data_1 = 3; fixed32 custom_data_2 = 4;
    fixed32 custom_data_3 = 5; fixed32 custom_data_4 = 6; fixed32 custom_data_5 = 7; fixed32 custom_data_6 = 8;
    fixed32 custom_data_7 = 9; fixed32 custom_data_8 = 10; fixed32 custom_data_9 = 11; fixed32 custom_data_10 = 12;
    fixed32 custom_data_11 = 13; fixed32 custom_data_12 = 14; fixed32 custom_data_13 = 15;
    fixed32 custom_data_14 = 16; fixed32 custom_data_15 = 17;
    oneof tool_customData {
        GripperCyclic.CustomData gripper_custom_data = 18;
    }
}
message Feedback {
    MessageId feedback_id = 1; fixed32 status_flags = 2; fixed32 jitter_comm = 3; float imu_acceleration_x = 4;
    float imu_acceleration_y = 5; float imu_acceleration_z = 6; float imu_angular_velocity_x = 7;
    float imu_angular_velocity_y = 8; float imu_angular_velocity_z = 9; float voltage = 10;
    float temperature_core = 11; fixed32 fault_bank_a = 12; fixed32 fault_bank_b = 13; fixed32 warning_bank_a = 14;
    fixed32 warning_bank_b = 15;
    oneof tool_feedback {
        GripperCyclic.Feedback gripper_feedback = 18;
    }
}
message MessageId {
    fixed32 identifier = 1;
}
""",
    "BaseCyclic": """
message ActuatorCommand {
    fixed32 command_id = 1; fixed32 flags = 2; float position = 3; float velocity = 4; float torque_joint = 5;
    float current_motor = 6;
}
message ActuatorCustomData {
    fixed32 command_id = 1; fixed32 custom_data_0 = 2; fixed32 custom_data_1 = 3; fixed32 custom_data_2 = 4;
    fixed32 custom_data_3 = 5; fixed32 custom_data_4 = 6; fixed32 custom_data_5 = 7; fixed32 custom_data_6 = 8;
    fixed32 custom_data_7 = 9; fixed32 custom_data_8 = 10; fixed32 custom_data_9 = 11; fixed32 custom_data_10 = 12;
    fixed32 custom_data_11 = 13; fixed32 custom_data_12 = 14; fixed32 custom_data_13 = 15;
    fixed32 custom_data_14 = 16; fixed32 custom_data_15 = 17;
}
message ActuatorFeedback {
    fixed32 command_id = 1; fixed32 status_flags = 2; fixed32 jitter_comm = 3; float position = 4;
    float velocity = 5; float torque = 6; float current_motor = 7; float voltage = 8; float temperature_motor = 9;
    float temperature_core = 10; fixed32 fault_bank_a = 11; fixed32 fault_bank_b = 12; fixed32 warning_bank_a = 13;
    fixed32 warning_bank_b = 14;
}
message BaseFeedback {
    uint32 active_state_connection_identifier = 1; Common.ArmState active_state = 2; float arm_voltage = 3;
    float arm_current = 4; float temperature_cpu = 5; float temperature_ambient = 6; float imu_acceleration_x = 7;
    float imu_acceleration_y = 8; float imu_acceleration_z = 9; float imu_angular_velocity_x = 10;
    float imu_angular_velocity_y = 11; float imu_angular_velocity_z = 12; float tool_pose_x = 13;
    float tool_pose_y = 14; float tool_pose_z = 15; float tool_pose_theta_x = 16; float tool_pose_theta_y = 17;
    float tool_pose_theta_z = 18; float tool_twist_linear_x = 19; float tool_twist_linear_y = 20;
    float tool_twist_linear_z = 21; float tool_twist_angular_x = 22; float tool_twist_angular_y = 23;
    float tool_twist_angular_z = 24; float tool_external_wrench_force_x = 25;
    float tool_external_wrench_force_y = 26; float tool_external_wrench_force_z = 27;
    float tool_external_wrench_torque_x = 28; float tool_external_wrench_torque_y = 29;
    float tool_external_wrench_torque_z = 30; fixed32 fault_bank_a = 31; fixed32 fault_bank_b = 32;
    fixed32 warning_bank_a = 33; fixed32 warning_bank_b = 34; float commanded_tool_pose_x = 35;
    float commanded_tool_pose_y = 36; float commanded_tool_pose_z = 37; float commanded_tool_pose_theta_x = 38;
    float commanded_tool_pose_theta_y = 39; float commanded_tool_pose_theta_z = 40;
}
message Command {
    fixed32 frame_id = 1; repeated ActuatorCommand actuators = 2; InterconnectCyclic.Command interconnect = 3;
}
message CustomData {
    fixed32 frame_id = 1; fixed32 custom_data_0 = 2; fixed32 custom_data_1 = 3; fixed32 custom_data_2 = 4;
    fixed32 custom_data_3 = 5; fixed32 custom_data_4 = 6; fixed32 custom_data_5 = 7; fixed32 custom_data_6 = 8;
    fixed32 custom_data_7 = 9; repeated ActuatorCustomData actuators_custom_data = 10;
    InterconnectCyclic.CustomData interconnect_custom_data = 11;
}
message Feedback {
    fixed32 frame_id = 1; BaseFeedback base = 2; repeated ActuatorFeedback actuators = 3;
    InterconnectCyclic.Feedback interconnect = 4;
}
""",
    "Base": """
enum ActionEvent {
    UNSPECIFIED_ACTION_EVENT = 0; ACTION_END = 1; ACTION_ABORT = 2; ACTION_PAUSE = 3; ACTION_START = 4;
    ACTION_PREPROCESS_START = 5; ACTION_PREPROCESS_ABORT = 6; ACTION_PREPROCESS_END = 7;
    ACTION_POSTPROCESS_START = 8; ACTION_POSTPROCESS_ABORT = 9; ACTION_POSTPROCESS_END = 10; ACTION_FEEDBACK = 11;
}
enum ActionType {
    UNSPECIFIED_ACTION = 0; SEND_TWIST_COMMAND = 1; SEND_WRENCH_COMMAND = 2; SEND_JOINT_SPEEDS = 4; REACH_POSE = 6;
    REACH_JOINT_ANGLES = 7; TOGGLE_ADMITTANCE_MODE = 13; SNAPSHOT = 14; SWITCH_CONTROL_MAPPING = 16;
    NAVIGATE_JOINTS = 17; NAVIGATE_MAPPINGS = 18; CHANGE_TWIST = 22; CHANGE_JOINT_SPEEDS = 23; CHANGE_WRENCH = 25;
    APPLY_EMERGENCY_STOP = 28; CLEAR_FAULTS = 29; TIME_DELAY = 31; EXECUTE_ACTION = 32; SEND_GRIPPER_COMMAND = 33;
    SEND_GPIO_COMMAND = 34; STOP_ACTION = 35; PLAY_PRE_COMPUTED_TRAJECTORY = 39; EXECUTE_SEQUENCE = 40;
    EXECUTE_WAYPOINT_LIST = 41;
}
enum AdmittanceMode {
    UNSPECIFIED_ADMITTANCE_MODE = 0; CARTESIAN = 1; JOINT = 2; NULL_SPACE = 3; DISABLED = 4;
}
enum ControlMode {
    UNSPECIFIED_CONTROL_MODE = 0; ANGULAR_JOYSTICK = 1; CARTESIAN_JOYSTICK = 2; ANGULAR_TRAJECTORY = 4;
    CARTESIAN_TRAJECTORY = 5; CARTESIAN_ADMITTANCE = 6; JOINT_ADMITTANCE = 7; NULL_SPACE_ADMITTANCE = 8;
    FORCE_CONTROL = 10; FORCE_CONTROL_MOTION_RESTRICTED = 11; IDLE = 13;
}
enum GpioAction {
    UNSPECIFIED_GPIO_ACTION = 0; GPIOACTION_SET = 1; GPIOACTION_CLEAR = 2; GPIOACTION_PULSE_HIGH = 3;
    GPIOACTION_PULSE_LOW = 4;
}
enum GripperMode {
    UNSPECIFIED_GRIPPER_MODE = 0; GRIPPER_FORCE = 1; GRIPPER_SPEED = 2; GRIPPER_POSITION = 3;
}
enum JointNavigationDirection {
    UNSPECIFIED_JOINT_NAVIGATION_DIRECTION = 0; JOINT_NEXT = 1; JOINT_PREVIOUS = 2;
}
enum JointTrajectoryConstraintType {
    UNSPECIFIED_JOINT_CONSTRAINT = 0; JOINT_CONSTRAINT_DURATION = 1; JOINT_CONSTRAINT_SPEED = 2;
}
enum NavigationDirection {
    UNSPECIFIED_NAVIGATION_DIRECTION = 0; NEXT = 1; UP = 2; DOWN = 3; PREVIOUS = 4;
}
enum OperatingMode {
    UNSPECIFIED_OPERATING_MODE = 0; MAINTENANCE_MODE = 1; UPDATE_MODE = 2; UPDATE_COMPLETED_MODE = 3;
    UPDATE_FAILED_MODE = 4; SHUTTING_DOWN_MODE = 5; RUN_MODE = 6; UPDATING_DEVICE_MODE = 7;
}
enum RobotEvent {
    UNSPECIFIED_ROBOT_EVENT = 0; ARM_CONNECTED = 1; ARM_DISCONNECTED = 2; TOOL_CONNECTED = 5; TOOL_DISCONNECTED = 6;
}
enum ServoingMode {
    UNSPECIFIED_SERVOING_MODE = 0; SINGLE_LEVEL_SERVOING = 2; LOW_LEVEL_SERVOING = 3; BYPASS_SERVOING = 4;
}
enum SnapshotType {
    UNSPECIFIED_SNAPSHOT = 0; CARTESIAN_POSITION_SNAPSHOT = 1; JOINT_POSITION_SNAPSHOT = 2; GRIPPER_SNAPSHOT = 3;
    COMBINED_SNAPSHOT = 4;
}
enum TrajectoryContinuityMode {
    TRAJECTORY_CONTINUITY_MODE_UNSPECIFIED = 0; TRAJECTORY_CONTINUITY_MODE_POSITION = 1;
    TRAJECTORY_CONTINUITY_MODE_SPEED = 2; TRAJECTORY_CONTINUITY_MODE_ACCELERATION = 3;
}
enum TrajectoryErrorIdentifier {
    TRAJECTORY_ERROR_IDENTIFIER_UNSPECIFIED = 0; TRAJECTORY_ERROR_IDENTIFIER_UNAPPLICABLE = 1;
    TRAJECTORY_ERROR_IDENTIFIER_TIME = 2; TRAJECTORY_ERROR_IDENTIFIER_POSITION = 3;
    TRAJECTORY_ERROR_IDENTIFIER_VELOCITY = 4; TRAJECTORY_ERROR_IDENTIFIER_ACCELERATION = 5;
}
enum TrajectoryErrorType {
    TRAJECTORY_ERROR_TYPE_UNSPECIFIED = 0; TRAJECTORY_ERROR_TYPE_OUTSIDE_WORKSPACE = 1;
    TRAJECTORY_ERROR_TYPE_ACTUATOR_COUNT_MISMATCH = 2; TRAJECTORY_ERROR_TYPE_INVALID_DURATION = 3;
    TRAJECTORY_ERROR_TYPE_JOINT_NO_MOTION = 4; TRAJECTORY_ERROR_TYPE_ZERO_DISTANCE = 4;
    TRAJECTORY_ERROR_TYPE_INVALID_JOINT_SPEED = 5; TRAJECTORY_ERROR_TYPE_INVALID_SPEED = 5;
    TRAJECTORY_ERROR_TYPE_LARGE_SPEED = 6; TRAJECTORY_ERROR_TYPE_INVALID_JOINT_ACCELERATION = 7;
    TRAJECTORY_ERROR_TYPE_INVALID_ACCELERATION = 7; TRAJECTORY_ERROR_TYPE_INVALID_TIME_STEP = 8;
    TRAJECTORY_ERROR_TYPE_INVALID_TRAJECTORY_SIZE = 9; TRAJECTORY_ERROR_TYPE_LARGE_SIZE = 9;
    TRAJECTORY_ERROR_TYPE_WRONG_MODE = 10; TRAJECTORY_ERROR_TYPE_INVALID_JOINT_POSITION = 11;
    TRAJECTORY_ERROR_TYPE_JOINT_POSITION_LIMIT = 11; TRAJECTORY_ERROR_TYPE_FILE_ERROR = 12;
    TRAJECTORY_ERROR_TYPE_NO_FILE_IN_MEMORY = 13; TRAJECTORY_ERROR_TYPE_INDEX_OUT_OF_TRAJ = 14;
    TRAJECTORY_ERROR_TYPE_TRAJECTORY_ALREADY_RUNNING = 15; TRAJECTORY_ERROR_TYPE_ALREADY_RUNNING = 15;
    TRAJECTORY_ERROR_TYPE_WRONG_STARTING_POINT = 16; TRAJECTORY_ERROR_TYPE_CARTESIAN_CANNOT_START = 17;
    TRAJECTORY_ERROR_TYPE_WRONG_STARTING_SPEED = 18; TRAJECTORY_ERROR_TYPE_INVALID_POSITION = 19;
    TRAJECTORY_ERROR_TYPE_INVALID_CARTESIAN_POSITION = 20; TRAJECTORY_ERROR_TYPE_INVALID_CARTESIAN_ORIENTATION = 21;
    TRAJECTORY_ERROR_TYPE_INVALID_CARTESIAN_LINEAR_VELOCITY = 22;
    TRAJECTORY_ERROR_TYPE_INVALID_CARTESIAN_ANGULAR_VELOCITY = 23; TRAJECTORY_ERROR_TYPE_INVALID_JOINT_TORQUE = 24;
    TRAJECTORY_ERROR_TYPE_MULTIPLE_WAYPOINT_TYPE_LIST = 25; TRAJECTORY_ERROR_TYPE_INITIAL_WAYPOINT_NO_STOP = 26;
    TRAJECTORY_ERROR_TYPE_FINAL_WAYPOINT_NO_STOP = 27; TRAJECTORY_ERROR_TYPE_INVALID_BLENDING_RADIUS = 28;
    TRAJECTORY_ERROR_TYPE_INVALID_REFERENCE_FRAME = 29;
    TRAJECTORY_ERROR_TYPE_NUMERICAL_ERROR_IMPOSSIBLE_TRAJECTORY = 30;
}
enum TrajectoryInfoType {
    UNSPECIFIED_TRAJECTORY_INFORMATION = 0; JOINT_ACCELERATION_LIMIT_REACHED = 1; JOINT_SPEED_LIMIT_REACHED = 2;
    JOINT_POSITION_LIMIT_REACHED = 3; JOINT_TORQUE_LIMIT_REACHED = 4; SINGULARITY_REGION = 5;
    INVERSE_KINEMATIC_FAILED = 6; CARTESIAN_ACCELERATION_LIMIT_REACHED = 7; CARTESIAN_SPEED_LIMIT_REACHED = 8;
    CARTESIAN_POSITION_LIMIT_REACHED = 9; CARTESIAN_WRENCH_LIMIT_REACHED = 10; ENTERING_PROTECTION_ZONE = 11;
    WAYPOINT_REACHED = 12; TRAJECTORY_OK = 13;
}
enum WrenchMode {
    UNSPECIFIED_WRENCH_MODE = 0; WRENCH_RESTRICTED = 1; WRENCH_NORMAL = 2;
}
enum SafetyIdentifier {
    UNSPECIFIED_BASE_SAFETY_IDENTIFIER = 0; FIRMWARE_UPDATE_FAILURE = 1; EXTERNAL_COMMUNICATION_ERROR = 2;
    MAXIMUM_AMBIENT_TEMPERATURE = 4; MAXIMUM_CORE_TEMPERATURE = 8; JOINT_FAULT = 16; CYCLIC_DATA_JITTER = 32;
    REACHED_MAXIMUM_EVENT_LOGS = 64; NO_KINEMATICS_SUPPORT = 128; BRAKE_REMOVAL_FAILURE = 256; NETWORK_ERROR = 512;
    UNABLE_TO_REACH_POSE = 1024; JOINT_DETECTION_ERROR = 2048; NETWORK_INITIALIZATION_ERROR = 4096;
    MAXIMUM_CURRENT = 8192; MAXIMUM_VOLTAGE = 16384; MINIMUM_VOLTAGE = 32768;
    MAXIMUM_END_EFFECTOR_TRANSLATION_VELOCITY = 65536; MAXIMUM_END_EFFECTOR_ORIENTATION_VELOCITY = 131072;
    MAXIMUM_END_EFFECTOR_TRANSLATION_ACCELERATION = 262144; MAXIMUM_END_EFFECTOR_ORIENTATION_ACCELERATION = 524288;
    MAXIMUM_END_EFFECTOR_TRANSLATION_FORCE = 1048576; MAXIMUM_END_EFFECTOR_ORIENTATION_FORCE = 2097152;
    MAXIMUM_END_EFFECTOR_PAYLOAD = 4194304; EMERGENCY_STOP_ACTIVATED = 8388608; EMERGENCY_LINE_ACTIVATED = 16777216;
    INRUSH_CURRENT_LIMITER_FAULT = 33554432; NVRAM_CORRUPTED = 67108864; INCOMPATIBLE_FIRMWARE_VERSION = 134217728;
    POWERON_SELF_TEST_FAILURE = 268435456; DISCRETE_INPUT_STUCK_ACTIVE = 536870912;
    ARM_INTO_ILLEGAL_POSITION = 1073741824;
}
message Action {
    ActionHandle handle = 1; string name = 2; string application_data = 3;
    oneof action_parameters {
        TwistCommand send_twist_command = 4; WrenchCommand send_wrench_command = 5;
        JointSpeeds send_joint_speeds = 7; ConstrainedPose reach_pose = 9;
        ConstrainedJointAngles reach_joint_angles = 10; AdmittanceMode toggle_admittance_mode = 16;
        Snapshot snapshot = 17; SwitchControlMapping switch_control_mapping = 19;
        JointNavigationDirection navigate_joints = 20; NavigationDirection navigate_mappings = 21;
        ChangeTwist change_twist = 25; ChangeJointSpeeds change_joint_speeds = 26; ChangeWrench change_wrench = 28;
        EmergencyStop apply_emergency_stop = 31; Faults clear_faults = 32; Delay delay = 34;
        ActionHandle execute_action = 35; GripperCommand send_gripper_command = 36;
        GpioCommand send_gpio_command = 37; Stop stop_action = 38;
        PreComputedJointTrajectory play_pre_computed_trajectory = 39; SequenceHandle execute_sequence = 40;
        WaypointList execute_waypoint_list = 41;
    }
}
message ActionHandle {
    uint32 identifier = 1; ActionType action_type = 2; fixed32 permission = 3;
}
message ActionList {
    repeated Action action_list = 1;
}
message ActionNotification {
    ActionEvent action_event = 1; ActionHandle handle = 2; Common.Timestamp timestamp = 3;
    Common.UserProfileHandle user_handle = 4; Api.SubErrorCodes abort_details = 5; Common.Connection connection = 6;
    repeated TrajectoryInfo trajectory_info = 7;
}
message ActuatorInformation {
    uint32 count = 1;
}
message AngularWaypoint {
    repeated float angles = 1; repeated float maximum_velocities = 2; float duration = 3;
}
message ArmStateInformation {
    Common.ArmState active_state = 1; Common.Connection connection = 2;
}
message ArmStateNotification {
    Common.ArmState active_state = 1; Common.Timestamp timestamp = 2; Common.Connection connection = 3;
}
message CartesianSpeed {
    float translation = 1; float orientation = 2;
}
message CartesianTrajectoryConstraint {
    oneof type {
        CartesianSpeed speed = 1; float duration = 2;
    }
}
message CartesianWaypoint {
    Pose pose = 1; Common.CartesianReferenceFrame reference_frame = 2; float maximum_linear_velocity = 3;
    float maximum_angular_velocity = 4; float blending_radius = 5;
}
message ChangeJointSpeeds {
    JointSpeeds joint_speeds = 1;
}
message ChangeTwist {
    float linear = 1; float angular = 2;
}
message ChangeWrench {
    float force = 1; float torque = 2;
}
message ConstrainedJointAngles {
    JointAngles joint_angles = 1; JointTrajectoryConstraint constraint = 2;
}
message ConstrainedPose {
    Pose target_pose = 1; CartesianTrajectoryConstraint constraint = 2;
}
message ControlModeInformation {
    ControlMode mode = 1;
}
message Delay {
    uint32 duration = 1;
}
message EmergencyStop {}
message Faults {}
message Finger {
    uint32 finger_identifier = 1; float value = 2;
}
message GpioCommand {
    uint32 port_identifier = 1; uint32 pin_identifier = 2; GpioAction action = 3; uint32 period = 4;
}
message Gripper {
    repeated Finger finger = 1;
}
message GripperCommand {
    GripperMode mode = 1; Gripper gripper = 2; uint32 duration = 3;
}
message GripperRequest {
    GripperMode mode = 1;
}
message IKData {
    Pose cartesian_pose = 1; JointAngles guess = 2;
}
message JointAngle {
    uint32 joint_identifier = 1; float value = 2;
}
message JointAngles {
    repeated JointAngle joint_angles = 1;
}
message JointSpeed {
    uint32 joint_identifier = 1; float value = 2; uint32 duration = 3;
}
message JointSpeeds {
    repeated JointSpeed joint_speeds = 1; uint32 duration = 2;
}
message JointTrajectoryConstraint {
    JointTrajectoryConstraintType type = 1; float value = 2;
}
message MapGroupHandle {
    uint32 identifier = 1; fixed32 permission = 2;
}
message MapHandle {
    uint32 identifier = 1; fixed32 permission = 2;
}
message OperatingModeInformation {
    OperatingMode operating_mode = 1; Common.DeviceHandle device_handle = 2;
}
message OperatingModeNotification {
    OperatingMode operating_mode = 1; Common.Timestamp timestamp = 2; Common.UserProfileHandle user_handle = 3;
    Common.Connection connection = 4; Common.DeviceHandle device_handle = 5;
}
message Pose {
    float x = 1; float y = 2; float z = 3; float theta_x = 4; float theta_y = 5; float theta_z = 6;
}
message PreComputedJointTrajectory {
    TrajectoryContinuityMode mode = 1; repeated PreComputedJointTrajectoryElement trajectory_elements = 2;
}
message PreComputedJointTrajectoryElement {
    repeated float joint_angles = 1; repeated float joint_speeds = 2; repeated float joint_accelerations = 3;
    float time_from_start = 4;
}
message RequestedActionType {
    ActionType action_type = 1;
}
message RobotEventNotification {
    RobotEvent event = 1; Common.DeviceHandle handle = 2; Common.Timestamp timestamp = 3;
    Common.UserProfileHandle user_handle = 4; Common.Connection connection = 6;
}
message SequenceHandle {
    uint32 identifier = 1; fixed32 permission = 2;
}
message ServoingModeInformation {
    ServoingMode servoing_mode = 1;
}
message ServoingModeNotification {
    ServoingMode servoing_mode = 1; Common.Timestamp timestamp = 2; Common.UserProfileHandle user_handle = 3;
    Common.Connection connection = 4;
}
message Snapshot {
    SnapshotType snapshot_type = 1;
}
message Stop {}
message SwitchControlMapping {
    uint32 controller_identifier = 1; MapGroupHandle map_group_handle = 2; MapHandle map_handle = 3;
}
message TrajectoryErrorElement {
    TrajectoryErrorType error_type = 1; TrajectoryErrorIdentifier error_identifier = 2; float error_value = 3;
    float min_value = 4; float max_value = 5; uint32 index = 6; string message = 7; uint32 waypoint_index = 8;
}
message TrajectoryErrorReport {
    repeated TrajectoryErrorElement trajectory_error_elements = 1;
}
message TrajectoryInfo {
    TrajectoryInfoType trajectory_info_type = 1; uint32 waypoint_index = 2; uint32 joint_index = 3;
}
message Twist {
    float linear_x = 1; float linear_y = 2; float linear_z = 3; float angular_x = 4; float angular_y = 5;
    float angular_z = 6;
}
message TwistCommand {
    Common.CartesianReferenceFrame reference_frame = 1; Twist twist = 2; uint32 duration = 3;
}
message Waypoint {
    string name = 1;
    oneof type_of_waypoint {
        AngularWaypoint angular_waypoint = 2; CartesianWaypoint cartesian_waypoint = 3;
    }
}
message WaypointList {
    repeated Waypoint waypoints = 1; float duration = 2; bool use_optimal_blending = 3;
}
message WaypointValidationReport {
    TrajectoryErrorReport trajectory_error_report = 1; WaypointList optimal_waypoint_list = 2;
}
message Wrench {
    float force_x = 1; float force_y = 2; float force_z = 3; float torque_x = 4; float torque_y = 5;
    float torque_z = 6;
}
message WrenchCommand {
    Common.CartesianReferenceFrame reference_frame = 1; WrenchMode mode = 2; Wrench wrench = 3; uint32 duration = 4;
}
""",
    "ActuatorConfig": """
enum ControlMode {
    NONE = 0; POSITION = 1; VELOCITY = 2; TORQUE = 3; CURRENT = 4; CUSTOM = 5; TORQUE_HIGH_VELOCITY = 6;
}
enum SafetyIdentifierBankA {
    UNSPECIFIED_ACTUATOR_SAFETY_IDENTIFIER_BANK_A = 0; FOLLOWING_ERROR = 1; MAXIMUM_VELOCITY = 2;
    JOINT_LIMIT_HIGH = 4; JOINT_LIMIT_LOW = 8; STRAIN_GAUGE_MISMATCH = 16; MAXIMUM_TORQUE = 32;
    UNRELIABLE_ABSOLUTE_POSITION = 64; MAGNETIC_POSITION = 128; HALL_POSITION = 256; HALL_SEQUENCE = 512;
    INPUT_ENCODER_HALL_MISMATCH = 1024; INPUT_ENCODER_INDEX_MISMATCH = 2048; INPUT_ENCODER_MAGNETIC_MISMATCH = 4096;
    MAXIMUM_MOTOR_CURRENT = 8192; MOTOR_CURRENT_MISMATCH = 16384; MAXIMUM_VOLTAGE = 32768; MINIMUM_VOLTAGE = 65536;
    MAXIMUM_MOTOR_TEMPERATURE = 131072; MAXIMUM_CORE_TEMPERATURE = 262144; NON_VOLATILE_MEMORY_CORRUPTED = 524288;
    MOTOR_DRIVER_FAULT = 1048576; EMERGENCY_LINE_ASSERTED = 2097152; COMMUNICATION_TICK_LOST = 4194304;
    WATCHDOG_TRIGGERED = 8388608; UNRELIABLE_CAPACITIVE_SENSOR = 16777216; UNEXPECTED_GEAR_RATIO = 33554432;
    HALL_MAGNETIC_MISMATCH = 67108864; BRAKE_DRIVE_FAULT = 134217728; BRAKE_RELEASE_MOTION_OUT_OF_RANGE = 268435456;
}
message ControlModeInformation {
    ControlMode control_mode = 1;
}
message TorqueOffset {
    float torque_offset = 1;
}
""",
    "ControlConfig": """
enum ControlMode {
    UNSPECIFIED_CONTROL_MODE = 0; ANGULAR_JOYSTICK = 1; CARTESIAN_JOYSTICK = 2; ANGULAR_TRAJECTORY = 4;
    CARTESIAN_TRAJECTORY = 5; CARTESIAN_ADMITTANCE = 6; JOINT_ADMITTANCE = 7; NULL_SPACE_ADMITTANCE = 8;
    FORCE_CONTROL = 10; FORCE_CONTROL_MOTION_RESTRICTED = 11; CARTESIAN_WAYPOINT_TRAJECTORY = 12; IDLE = 13;
}
message CartesianReferenceFrameInfo {
    Common.CartesianReferenceFrame reference_frame = 1;
}
message CartesianTransform {
    float x = 1; float y = 2; float z = 3; float theta_x = 4; float theta_y = 5; float theta_z = 6;
}
message JointAccelerationSoftLimits {
    ControlMode control_mode = 1; repeated float joint_acceleration_soft_limits = 2;
}
message JointSpeedSoftLimits {
    ControlMode control_mode = 1; repeated float joint_speed_soft_limits = 2;
}
message KinematicLimits {
    ControlMode control_mode = 1; float twist_linear = 2; float twist_angular = 3;
    repeated float joint_speed_limits = 4; repeated float joint_acceleration_limits = 5;
}
message PayloadInformation {
    float payload_mass = 1; Position payload_mass_center = 2;
}
message Position {
    float x = 1; float y = 2; float z = 3;
}
message ToolConfiguration {
    CartesianTransform tool_transform = 1; float tool_mass = 2; Position tool_mass_center = 3;
}
""",
    "DeviceConfig": """
message DeviceType {
    Common.DeviceTypes device_type = 1;
}
message FirmwareVersion {
    uint32 firmware_version = 1;
}
message BootloaderVersion {
    uint32 bootloader_version = 1;
}
message MACAddress {
    bytes mac_address = 1;
}
message ModelNumber {
    string model_number = 1;
}
message PartNumber {
    string part_number = 1;
}
message PartNumberRevision {
    string part_number_revision = 1;
}
message SerialNumber {
    string serial_number = 1;
}
""",
    "DeviceManager": """
message DeviceHandles {
    repeated Common.DeviceHandle device_handle = 1;
}
""",
    "InterconnectConfig": """
enum SafetyIdentifier {
    UNSPECIFIED_INTERCONNECT_SAFETY_IDENTIFIER = 0; MAXIMUM_MOTOR_CURRENT = 1; MAXIMUM_VOLTAGE = 2;
    MINIMUM_VOLTAGE = 4; MAXIMUM_MOTOR_TEMPERATURE = 8; MAXIMUM_CORE_TEMPERATURE = 16;
    NON_VOLATILE_MEMORY_CORRUPTED = 32; EMERGENCY_LINE_ASSERTED = 64; COMMUNICATION_TICK_LOST = 128;
    WATCHDOG_TRIGGERED = 256;
}
""",
    "GripperConfig": """
enum SafetyIdentifier {
    UNSPECIFIED_ACTUATOR_SAFETY_IDENTIFIER = 0; MAXIMUM_MOTOR_CURRENT = 1; MAXIMUM_VOLTAGE = 2; MINIMUM_VOLTAGE = 4;
    MAXIMUM_MOTOR_TEMPERATURE = 8; MAXIMUM_CORE_TEMPERATURE = 16; NON_VOLATILE_MEMORY_CORRUPTED = 32;
    EMERGENCY_LINE_ASSERTED = 64; COMMUNICATION_TICK_LOST = 128; WATCHDOG_TRIGGERED = 256;
}
""",
}
